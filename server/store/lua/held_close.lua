-- Closes a held message, once: it is denied, or sent in the same step.
-- KEYS meta events live held people decided
-- ARGV keep id user_id resolved denied event kept most_decided
-- INCLUDE append_event barred close_held
-- Returns {ok, seq} | {barred} | {already, resolved} | {unknown} | {no_room}
-- `event` is empty when the message is not to be sent. {barred}: its sender may not chat any longer, so it is `denied`.
local about = redis.call('HMGET', meta, 'epoch', 'seq', 'broadcast')
if not about[1] then
  return {'no_room'}
end
if redis.call('HEXISTS', held, id) == 0 then
  local before = redis.call('HGET', decided, id)
  return before and {'already', before} or {'unknown'}
end
local why = event ~= '' and barred(people, user_id, about[3], now_ms())
if why and why ~= 'warned' then
  close_held(held, decided, live, about[1], id, user_id, denied, most_decided, kept)
  return {'barred'}
end
close_held(held, decided, live, about[1], id, user_id, resolved, most_decided, kept)
return {'ok', event == '' and about[2] or append_event(meta, events, live, keep, event)}
