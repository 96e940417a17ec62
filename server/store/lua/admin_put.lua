-- Creates a room, or changes its host, title, settings and details and publishes the change.
-- KEYS meta events live
-- ARGV keep expected epoch identity kept_s host_id host_name title settings shown_settings details updated new_host new_title new_settings new_details
-- INCLUDE append_event
-- Returns {created} | {updated} | {unchanged} | {changed} | {no_room}
-- `expected` is the host, title, settings and details on which the caller's are based, or empty; {changed} if they have changed.
-- `updated` is the event without fields. `new_*` are fields to add to it, each as `,"name":value`.
local old = redis.call('HMGET', meta, 'epoch', 'host_id', 'host_name', 'title', 'settings', 'shown_settings', 'details')
local old_details = old[7] or ''
if expected ~= '' and not old[1] then
  return {'no_room'}
end
if expected ~= '' and expected ~= table.concat({old[2], old[3], old[4], old[5], old_details}, '\0') then
  return {'changed'}
end
if not old[1] then
  redis.call('HSET', meta, 'epoch', epoch, 'store', identity, 'seq', '0', 'status', 'offline', 'kept_s', kept_s,
    'host_id', host_id, 'host_name', host_name, 'title', title, 'settings', settings, 'shown_settings', shown_settings,
    'details', details)
  return {'created'}
end
if old[2] == host_id and old[3] == host_name and old[4] == title and old[5] == settings and old_details == details then
  return {'unchanged'}
end
redis.call('HSET', meta, 'host_id', host_id, 'host_name', host_name, 'title', title, 'settings', settings,
  'details', details)
local body = string.sub(updated, 1, -2)
if old[2] ~= host_id or old[3] ~= host_name then
  body = body .. new_host
end
if old[4] ~= title then
  body = body .. new_title
end
if old[6] ~= shown_settings then
  body = body .. new_settings
end
if old_details ~= details then
  body = body .. new_details
end
body = body .. '}'
redis.call('HSET', meta, 'shown_settings', shown_settings)
append_event(meta, events, live, keep, body)
return {'updated'}
