-- Appends one event to a room's history and publishes it to every node.
-- KEYS meta events live
-- ARGV keep body
-- INCLUDE append_event
-- Returns {ok, seq} | {no_room}
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
return {'ok', append_event(meta, events, live, keep, body)}
