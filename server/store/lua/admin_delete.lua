-- Deletes a room after its last event. What it keeps per user or per gift expires soon by itself.
-- KEYS meta events live
-- ARGV keep body
-- EACH key / name
-- INCLUDE append_event
-- HOOK room_deleted
-- Returns {ok} | {no_room}
-- Its `key`s are all that the program and its features declare, by their names.
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
append_event(meta, events, live, keep, body)
room_deleted()
for i = 1, items do
  redis.call('DEL', (keys_of(i)))
end
return {'ok'}
