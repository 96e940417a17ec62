-- Puts what SQL has about a room's people into the store, beside what is newer there.
-- KEYS meta people
-- ARGV epoch
-- EACH / user_id version standing
-- Returns {ok} | {other_epoch} | {no_room}
-- A value is "<version> <standing as JSON>". The field `` has the epoch for which everybody is there; a call without
-- people sets it.
local now = redis.call('HGET', meta, 'epoch')
if not now then
  return {'no_room'}
end
if now ~= epoch then
  return {'other_epoch'}
end
for i = 1, items do
  local user_id, version, standing = args_of(i)
  local held = redis.call('HGET', people, user_id)
  if not held or tonumber(string.match(held, '^%d+')) < tonumber(version) then
    redis.call('HSET', people, user_id, version .. ' ' .. standing)
  end
end
if items == 0 then
  redis.call('HSET', people, '', epoch)
end
return {'ok'}
