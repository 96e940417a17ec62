-- Pins something, once.
-- KEYS meta events live state
-- ARGV keep pin_id pin most event
-- INCLUDE append_event
-- Returns {ok} | {known} | {full} | {no_room}
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
if redis.call('HEXISTS', state, 'pin:' .. pin_id) == 1 then
  return {'known'}
end
local count = 0
for _, field in ipairs(redis.call('HKEYS', state)) do
  if string.sub(field, 1, 4) == 'pin:' then
    count = count + 1
  end
end
if count >= tonumber(most) then
  return {'full'}
end
redis.call('HSET', state, 'pin:' .. pin_id, pin)
append_event(meta, events, live, keep, event)
return {'ok'}
