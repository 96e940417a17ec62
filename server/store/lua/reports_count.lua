-- Counts a person's report of a message, once, and takes the message away when enough have reported it.
-- KEYS meta events live held reported reports
-- ARGV keep reporter user_id most kept_s most_users threshold most_held told held_message event deleted
-- INCLUDE append_event fill
-- Returns {ok, reports} | {known} | {held, reports} | {no_room}
-- `reports` is the set of this message, `reported` the counts of all people. Staff hears "<epoch> 0 staff <told>". The
-- message is held at exactly `threshold` reports, if there is room for it; 0 is never.
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
if redis.call('SCARD', reports) >= tonumber(most) or redis.call('SADD', reports, reporter) == 0 then
  return {'known'}
end
redis.call('EXPIRE', reports, kept_s)
local count, of_user = redis.call('SCARD', reports), 0
if redis.call('HLEN', reported) < tonumber(most_users) or redis.call('HEXISTS', reported, user_id) == 1 then
  of_user = redis.call('HINCRBY', reported, user_id, 1)
end
redis.call('PUBLISH', live, epoch .. ' 0 staff ' .. fill(told, {reports = tostring(count), of_user = tostring(of_user)}))
if count ~= tonumber(threshold) or redis.call('HLEN', held) >= tonumber(most_held) then
  return {'ok', tostring(count)}
end
redis.call('HSET', held, cjson.decode(held_message).id, held_message .. '\n' .. event)
redis.call('PUBLISH', live, epoch .. ' 0 held ' .. held_message)
append_event(meta, events, live, keep, deleted)
return {'held', tostring(count)}
