-- Tells every node how many messages of a room were left out: no event, so it has no seq.
-- KEYS meta live
-- ARGV count
-- Returns {ok} | {no_room}
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
redis.call('PUBLISH', live, epoch .. ' 0 ' .. count .. ' hidden')
return {'ok'}
