-- Tells the nodes a room's new rules.
-- KEYS meta live
-- ARGV version rules
-- Returns {ok} | {no_room}
-- They go to the nodes with the seq 0: "<epoch> 0 rules <version> <rules>".
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
redis.call('PUBLISH', live, epoch .. ' 0 rules ' .. version .. ' ' .. rules)
return {'ok'}
