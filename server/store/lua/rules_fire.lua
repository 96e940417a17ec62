-- Sends the events of a gift's rules, once, however many nodes ask for it.
-- KEYS meta events live ruled
-- ARGV keep once_s
-- EACH / body
-- INCLUDE append_event
-- Returns {ok} | {known} | {no_room}
-- The mark comes first: if a command fails after it, an effect is missing, and none comes twice.
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
if not redis.call('SET', ruled, '1', 'NX', 'EX', once_s) then
  return {'known'}
end
for i = 1, items do
  local body = args_of(i)
  append_event(meta, events, live, keep, body)
end
return {'ok'}
