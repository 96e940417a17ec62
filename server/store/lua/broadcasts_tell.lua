-- Tells a room what a broadcast brought, once, and drops what the summary was made of.
-- KEYS meta events live ended audience
-- ARGV keep broadcast event
-- INCLUDE append_event
-- Returns {ok, seq} | {known} | {no_room}
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
if redis.call('HDEL', ended, broadcast) == 0 then
  return {'known'}
end
if redis.call('EXISTS', ended) == 0 then
  redis.call('HDEL', meta, 'unsummed')
end
redis.call('DEL', audience)
return {'ok', append_event(meta, events, live, keep, event)}
