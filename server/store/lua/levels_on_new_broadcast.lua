-- Whose level is to be looked at stays over broadcasts; between them it expires with the room's other keys.
-- KEYS level_due level_gifts
-- ARGV -
redis.call('PERSIST', level_due)
redis.call('PERSIST', level_gifts)
