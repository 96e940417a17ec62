-- A new broadcast has no likes yet.
-- KEYS meta likers
-- ARGV -
redis.call('DEL', likers)
redis.call('HSET', meta, 'likes', '0')
