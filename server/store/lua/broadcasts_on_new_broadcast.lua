-- Counts the chats of a new broadcast from zero.
-- KEYS meta
-- ARGV -
redis.call('HDEL', meta, 'chats')
