-- Empties the board for a new broadcast.
-- KEYS meta board names
-- ARGV -
redis.call('DEL', board, names)
redis.call('HSET', meta, 'coins', '0', 'board_coins', '0')
