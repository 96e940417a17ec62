-- After the room store has started anew: a room whose history may have lost its end gets a new epoch, once.
-- KEYS meta
-- ARGV run_id whole epoch
-- Returns renewed | known | whole | no_room
-- `whole` 1 when the store was stopped in order: then nothing was lost, and who resumes loses nothing either.
local known = redis.call('HMGET', meta, 'run_id', 'epoch')
if not known[2] then
  return 'no_room'
end
if known[1] == run_id then
  return 'known'
end
redis.call('HSET', meta, 'run_id', run_id)
if whole == '1' then
  return 'whole'
end
redis.call('HSET', meta, 'epoch', epoch)
return 'renewed'
