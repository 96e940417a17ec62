-- Every hand is fresh, and the house claps a welcome.
-- KEYS state clappers
-- ARGV welcome
redis.call('DEL', clappers)
redis.call('HSET', state, 'applause:total', welcome)
