-- Tells the nodes something that has no place in the room's order.
-- KEYS meta live
-- ARGV kind body
-- Returns {ok} | {no_room}
-- It goes to the nodes with the seq 0: "<epoch> 0 <kind> <body>".
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
redis.call('PUBLISH', live, epoch .. ' 0 ' .. kind .. ' ' .. body)
return {'ok'}
