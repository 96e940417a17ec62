-- Empties the broadcast's boards for a new one.
-- KEYS meta board names tally
-- ARGV -
redis.call('DEL', board, names, tally .. ':broadcast:single')
redis.call('HSET', meta, 'coins', '0', 'board_coins', '0', 'board_first', '')
