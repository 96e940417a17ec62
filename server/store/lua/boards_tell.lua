-- Tells the room its board, unless another node has just done so.
-- KEYS meta events live board names
-- ARGV keep every_ms rows event_id
-- INCLUDE append_event
-- Returns {ok} | {later} | {no_room}
local about = redis.call('HMGET', meta, 'epoch', 'board_at', 'coins', 'board_coins')
if not about[1] then
  return {'no_room'}
end
local now = now_ms()
local since = about[2] and math.max(0, now - tonumber(about[2])) or math.huge
if (about[3] or '0') == (about[4] or '0') then
  return {'ok'}  -- nothing was given since the last telling
end
if since < tonumber(every_ms) then
  return {'later'}
end
redis.call('HSET', meta, 'board_at', string.format('%d', now), 'board_coins', about[3] or '0')
local ranks = redis.call('ZREVRANGE', board, 0, tonumber(rows) - 1, 'WITHSCORES')
local top = {}
for i = 1, #ranks, 2 do
  local name = redis.call('HGET', names, ranks[i]) or ranks[i]
  top[#top + 1] = string.format('{"rank":%d,"user":{"user_id":%s,"name":%s},"coins":%s}', (i + 1) / 2,
    cjson.encode(ranks[i]), cjson.encode(name), string.format('%d', tonumber(ranks[i + 1])))
end
append_event(meta, events, live, keep, '{"type":"board.changed","id":"' .. event_id .. '","top":[' .. table.concat(top, ',') .. ']}')
return {'ok'}
