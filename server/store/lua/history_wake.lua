-- Gives a room a new epoch, once, when the room store was restarted or replaced and may have lost its latest events.
-- KEYS meta
-- ARGV identity whole epoch
-- Returns renewed | known | whole | no_room
-- `whole` is 1 when the store was stopped cleanly: nothing was lost, so clients may resume.
-- The room remembers the epoch before (`prev`), and the seq at which the new one took over (`base`).
local known = redis.call('HMGET', meta, 'store', 'epoch', 'seq')
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
redis.call('HSET', meta, 'epoch', epoch, 'prev', known[2], 'base', known[3])
return 'renewed'
