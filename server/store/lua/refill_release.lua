-- Ends the lease of a partition. Another node's stays.
-- KEYS lease
-- ARGV token
-- Returns 1, or 0 when another node holds it
if redis.call('GET', lease) ~= token then
  return 0
end
return redis.call('DEL', lease)
