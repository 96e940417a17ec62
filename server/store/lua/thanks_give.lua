-- Tells the room that its host thanks for a gift, once.
-- KEYS meta events live thanked once
-- ARGV keep gift_id event
-- INCLUDE append_event
-- Returns {ok} | {known} | {unknown}: it is not of this broadcast | {no_room}
local from = redis.call('HMGET', meta, 'epoch', 'thanks_from')
if not from[1] then
  return {'no_room'}
end
local seq = tonumber(redis.call('GET', once) or '0')
if not seq or seq <= tonumber(from[2] or '0') then
  return {'unknown'}
end
if redis.call('SADD', thanked, gift_id) == 0 then
  return {'known'}
end
append_event(meta, events, live, keep, event)
return {'ok'}
