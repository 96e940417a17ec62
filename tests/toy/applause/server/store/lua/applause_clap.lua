-- Counts somebody's claps and tells the room.
-- KEYS meta events live state clappers
-- ARGV keep user_id count most event
-- INCLUDE append_event fill
-- Returns {ok, how many this person has left} | {tired} | {no_room}
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
local left = tonumber(most) - tonumber(redis.call('HGET', clappers, user_id) or '0') - tonumber(count)
if left < 0 then
  return {'tired'}
end
redis.call('HINCRBY', clappers, user_id, count)
local total = redis.call('HINCRBY', state, 'applause:total', count)
append_event(meta, events, live, keep, fill(event, {total = string.format('%d', total)}))
return {'ok', string.format('%d', left)}
