-- Tells every node how many chat messages of a room were hidden. This is not an event, so it has no seq.
-- KEYS meta live
-- ARGV count
-- Returns {ok} | {no_room}
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
redis.call('PUBLISH', live, epoch .. ' 0 hidden ' .. count)
return {'ok'}
