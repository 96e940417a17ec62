-- Each broadcast begins to count people's reports at 0.
-- KEYS reported
-- ARGV -
redis.call('DEL', reported)
