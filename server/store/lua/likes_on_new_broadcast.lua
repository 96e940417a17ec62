-- Resets the likes for a new broadcast.
-- KEYS meta likers
-- ARGV -
redis.call('DEL', likers)
redis.call('HSET', meta, 'likes', '0')
