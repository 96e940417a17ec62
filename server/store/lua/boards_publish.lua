-- Publishes the board in its room, unless a node did so less than `every_ms` ago; and who has come among its first.
-- KEYS meta events live board names people
-- ARGV keep every_ms rows event row climbed first_places
-- INCLUDE append_event fill since_ms
-- Returns {ok} | {later} | {no_room}
-- Hidden people are not on it. `board_first` has the ids of the first places that the room knows.
local about = redis.call('HMGET', meta, 'epoch', 'board_at', 'coins', 'board_coins', 'board_first')
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
local ranks = redis.call('ZREVRANGE', board, 0, 4 * tonumber(rows) - 1, 'WITHSCORES')
local known = ' ' .. (about[5] or '') .. ' '
local top, first, climbers = {}, {}, {}
for i = 1, #ranks, 2 do
  local hidden = string.find(redis.call('HGET', people, ranks[i]) or '', '"hidden":true', 1, true)
  if not hidden and #top < tonumber(rows) then
    local user_id = cjson.encode(ranks[i])
    local name = cjson.encode(redis.call('HGET', names, ranks[i]) or ranks[i])
    local rank = #top + 1
    top[rank] = fill(row, {rank = rank, user_id = user_id, name = name, coins = string.format('%d', tonumber(ranks[i + 1]))})
    if rank <= tonumber(first_places) then
      first[rank] = ranks[i]
      if not string.find(known, ' ' .. ranks[i] .. ' ', 1, true) then
        climbers[#climbers + 1] = {rank = rank, user_id = user_id, name = name,
          id = '"' .. about[1] .. '-' .. redis.call('HGET', meta, 'seq') .. '-' .. rank .. '"'}
      end
    end
  end
end
append_event(meta, events, live, keep, fill(event, {top = '[' .. table.concat(top, ',') .. ']'}))
for _, climber in ipairs(climbers) do
  append_event(meta, events, live, keep, fill(climbed, climber))
end
redis.call('HSET', meta, 'board_at', string.format('%d', now), 'board_coins', about[3] or '0',
  'board_first', table.concat(first, ' '))  -- last: it was told
return {'ok'}
