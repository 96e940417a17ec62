-- Publishes the board in its room, unless a node did so less than `every_ms` ago.
-- KEYS meta events live board names
-- ARGV keep every_ms rows event row
-- INCLUDE append_event fill since_ms
-- Returns {ok} | {later} | {no_room}
local about = redis.call('HMGET', meta, 'epoch', 'board_at', 'coins', 'board_coins')
if not about[1] then
  return {'no_room'}
end
local now = now_ms()
if (about[3] or '0') == (about[4] or '0') then
  return {'ok'}  -- nothing was given since the board was last shown
end
if since_ms(now, about[2]) < tonumber(every_ms) then
  return {'later'}
end
local ranks = redis.call('ZREVRANGE', board, 0, tonumber(rows) - 1, 'WITHSCORES')
local top = {}
for i = 1, #ranks, 2 do
  local name = redis.call('HGET', names, ranks[i]) or ranks[i]
  top[#top + 1] = fill(row, {rank = (i + 1) / 2, user_id = cjson.encode(ranks[i]), name = cjson.encode(name),
    coins = string.format('%d', tonumber(ranks[i + 1]))})
end
append_event(meta, events, live, keep, fill(event, {top = '[' .. table.concat(top, ',') .. ']'}))
redis.call('HSET', meta, 'board_at', string.format('%d', now), 'board_coins', about[3] or '0')  -- last: it was told
return {'ok'}
