-- Tells the nodes of a test gift. It costs nothing and has no place in the room's order.
-- KEYS meta live
-- ARGV body
-- Returns {ok} | {no_room}
-- It goes to the nodes with the seq 0: "<epoch> 0 test <message>".
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
local time = redis.call('TIME')
local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call('PUBLISH', live, epoch .. ' 0 test {"at_ms":' .. at_ms .. ',' .. string.sub(body, 2))
return {'ok'}
