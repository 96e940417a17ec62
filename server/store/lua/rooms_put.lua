-- Creates a room, or changes its host, title and settings; a change is told to the room.
-- KEYS meta events live
-- ARGV keep epoch run_id host_id host_name title settings body
-- INCLUDE append_event
-- Returns {created, seq} | {updated, seq} | {unchanged, seq}
local old = redis.call('HMGET', meta, 'epoch', 'host_id', 'host_name', 'title', 'settings', 'seq')
if not old[1] then
  redis.call('HSET', meta, 'epoch', epoch, 'run_id', run_id, 'seq', '0', 'status', 'offline', 'host_id', host_id,
    'host_name', host_name, 'title', title, 'settings', settings)
  return {'created', '0'}
end
if old[2] == host_id and old[3] == host_name and old[4] == title and old[5] == settings then
  return {'unchanged', old[6]}
end
redis.call('HSET', meta, 'host_id', host_id, 'host_name', host_name, 'title', title, 'settings', settings)
return {'updated', append_event(meta, events, live, keep, body)}
