-- A new broadcast has an empty board, and nothing to tell of it.
-- KEYS meta board names
-- ARGV -
redis.call('DEL', board, names)
redis.call('HSET', meta, 'coins', '0', 'board_coins', '0')
