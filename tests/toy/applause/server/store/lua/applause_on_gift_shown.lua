-- A gift is clapped to, and its giver has clapped at least once.
-- KEYS state clappers
-- ARGV claps
redis.call('HINCRBY', state, 'applause:total', claps)
redis.call('HSETNX', clappers, user_id, '1')
