-- Keeps what is decided about people over broadcasts; between them it expires with the room's other keys.
-- KEYS people
-- ARGV -
redis.call('PERSIST', people)
