-- Held messages end with the broadcast.
-- KEYS held decided
-- ARGV -
redis.call('DEL', held, decided)
