-- After the room store has started anew, or another one took its place: a room whose history may have lost its end gets a new epoch, once.
-- KEYS meta
-- ARGV identity whole epoch
-- Returns renewed | known | whole | no_room
-- `whole` 1 when the store was stopped in order: then nothing was lost, and who resumes loses nothing either.
local known = redis.call('HMGET', meta, 'store', 'epoch')
if not known[2] then
  return 'no_room'
end
if known[1] == identity then
  return 'known'
end
redis.call('HSET', meta, 'store', identity)
if whole == '1' then
  return 'whole'
end
redis.call('HSET', meta, 'epoch', epoch)
return 'renewed'
