-- Begins to count the boards again, if they are not whole: from here on, gifts that are shown are counted.
-- KEYS meta tally_whole
-- ARGV epoch token marked_s
-- EACH board_key / name
-- Returns {ok, seq} | {known} | {other_epoch} | {no_room}
-- `tally_whole` is the epoch for which they are whole, or ~ and the token of who fills them. It expires before them.
local about = redis.call('HMGET', meta, 'epoch', 'seq')
if not about[1] then
  return {'no_room'}
end
if about[1] ~= epoch then
  return {'other_epoch'}
end
if redis.call('GET', tally_whole) == epoch then
  return {'known'}
end
for i = 1, items do
  redis.call('DEL', (keys_of(i)))
end
redis.call('SET', tally_whole, '~' .. token, 'EX', marked_s)
return {'ok', about[2]}
