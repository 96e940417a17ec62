-- Publishes the goals that moved, unless a node did so less than `every_ms` ago.
-- KEYS meta events live goals goal_moved
-- ARGV keep every_ms event
-- INCLUDE append_event fill since_ms goals_move
-- Returns {ok, goals} | {later, goals} | {no_room}: how many goals there are
-- Only the newest event may reach a slow client, so that each has all goals.
local about = redis.call('HMGET', meta, 'epoch', 'goals_at')
if not about[1] then
  return {'no_room'}
end
local left = math.max(0, redis.call('HLEN', goals) - 1)
local moved = redis.call('SMEMBERS', goal_moved)
if #moved == 0 then
  return {'ok', left}
end
local now = now_ms()
local filled = string.sub(redis.call('HGET', goals, '') or '~', 1, 1) ~= '~'
if not filled or since_ms(now, about[2]) < tonumber(every_ms) then
  return {'later', left}
end
local first, others = nil, {}
local all = redis.call('HGETALL', goals)
for i = 1, #all, 2 do
  if all[i] ~= '' then
    if not first and redis.call('SISMEMBER', goal_moved, all[i]) == 1 then
      first = goals_json(all[i + 1])
    else
      others[#others + 1] = goals_json(all[i + 1])
    end
  end
end
if first then
  append_event(meta, events, live, keep, fill(event, {goal = first, others = '[' .. table.concat(others, ',') .. ']'}))
end
redis.call('DEL', goal_moved)
redis.call('HSET', meta, 'goals_at', string.format('%d', now))
return {'ok', left}
