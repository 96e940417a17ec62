-- Begins to count goals again, if the room's copy of them is lost: from here on, what moves is counted.
-- KEYS meta goals
-- ARGV epoch token
-- EACH / id value
-- Returns {ok, seq} | {known} | {other_epoch} | {no_room}
-- The field `` is "<epoch> <version>" if the copy is whole, or "~<token> 0" while somebody fills it.
-- A copy of an earlier epoch moves until here: what it has told as reached stays reached, and is not repeated.
local about = redis.call('HMGET', meta, 'epoch', 'seq')
if not about[1] then
  return {'no_room'}
end
if about[1] ~= epoch then
  return {'other_epoch'}
end
if string.match(redis.call('HGET', goals, '') or '', '^%S+') == epoch then
  return {'known'}
end
local reached = {}
local before = redis.call('HGETALL', goals)
for i = 1, #before, 2 do
  reached[before[i]] = string.match(before[i + 1], '^%d+ %d+ 1 ') ~= nil
end
redis.call('DEL', goals)
redis.call('HSET', goals, '', '~' .. token .. ' 0')
for i = 1, items do
  local id, value = args_of(i)
  if reached[id] then
    value = string.gsub(value, '^(%d+ %d+) 0 ', '%1 1 ')
  end
  redis.call('HSET', goals, id, value)
end
return {'ok', about[2]}
