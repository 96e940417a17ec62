-- Deletes who gave to each goal.
-- KEYS goals goal_givers
-- ARGV -
for _, id in ipairs(redis.call('HKEYS', goals)) do
  redis.call('DEL', goal_givers .. ':' .. id)
end
