-- Shows the goals in the next broadcast, too.
-- KEYS state goals goal_moved goal_givers goal_names
-- ARGV -
local all = redis.call('HGETALL', goals)
for i = 1, #all, 2 do
  if all[i] ~= '' then
    redis.call('HSET', state, 'goal:' .. all[i], all[i + 1])
  end
end
