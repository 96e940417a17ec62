-- Counts the viewers who are here when a broadcast begins as its first.
-- KEYS meta present seen
-- ARGV -
local here = redis.call('HKEYS', present)
redis.call('DEL', seen)
for i = 1, #here, 1000 do
  redis.call('SADD', seen, unpack(here, i, math.min(i + 999, #here)))
end
redis.call('HSET', meta, 'now', #here, 'peak', #here, 'unique', #here)
