-- Makes a room's goals those of SQL. What is counted of them stays, also when title or target change.
-- KEYS meta events live state goals goal_moved goal_givers goal_names people
-- ARGV keep epoch token version event row changed
-- EACH / id target reached rest add least exact
-- INCLUDE append_event fill goals_move
-- Returns {ok} | {known} | {not_whole} | {other_epoch} | {no_room}
-- With the `token` of goals_begin it adds `add` to what was counted since then; without, the copy must be whole.
-- A goal has at least `least`, and is `exact` if that is not empty. `rest` is what follows its numbers.
local now_epoch = redis.call('HGET', meta, 'epoch')
if not now_epoch then
  return {'no_room'}
end
if now_epoch ~= epoch then
  return {'other_epoch'}
end
local held, held_version = string.match(redis.call('HGET', goals, '') or '', '^(%S+) (%d+)$')
local filling = token ~= '' and held == '~' .. token
if not filling and held ~= epoch then
  return {'not_whole'}
end
if not filling and tonumber(held_version) >= tonumber(version) then
  return {'known'}
end
local before, all = {}, redis.call('HGETALL', goals)
for i = 1, #all, 2 do
  before[all[i]] = all[i + 1]
end
before[''] = nil
local differs, reached, shown = filling and items > 0, {}, {}
redis.call('HSET', goals, '', epoch .. ' ' .. version)
for i = 1, items do
  local id, target, was_reached, rest, add, least, exact = args_of(i)
  local old = before[id]
  local current, flag = string.match(old or '0 0 0 ', '^%d+ (%d+) (%d) ')
  current = math.max(tonumber(current) + ((filling or not old) and tonumber(add) or 0), tonumber(least))
  if exact ~= '' then
    current = tonumber(exact)
  end
  local value = target .. ' 0 ' .. ((was_reached == '1' or flag == '1') and '1 ' or '0 ') .. rest
  if goals_set(goals, state, id, value, current) then
    reached[#reached + 1] = id
  end
  local new = redis.call('HGET', goals, id)
  differs = differs or new ~= old
  shown[i] = goals_json(new)
  before[id] = nil
end
for id in pairs(before) do
  differs = true
  redis.call('HDEL', goals, id)
  redis.call('HDEL', state, 'goal:' .. id)
  redis.call('SREM', goal_moved, id)
  redis.call('DEL', goal_givers .. ':' .. id)
end
if items == 0 then
  redis.call('DEL', goal_names)
end
if differs then
  append_event(meta, events, live, keep, fill(changed, {goals = '[' .. table.concat(shown, ',') .. ']'}))
end
for _, id in ipairs(reached) do
  goals_tell_reached(meta, events, live, keep, goal_givers, goal_names, people, id, event, row)
end
return {'ok'}
