-- Reads a room exactly as of its seq: its definition, its board, and what features keep for newcomers.
-- KEYS meta board names state people
-- ARGV rows
-- Returns {ok, meta pairs, board pairs, display names of the board, state pairs} | {no_room}
-- Hidden people are not on the board.
local about = redis.call('HGETALL', meta)
if #about == 0 then
  return {'no_room'}
end
local found = redis.call('ZREVRANGE', board, 0, 4 * tonumber(rows) - 1, 'WITHSCORES')
local ranks, display_names = {}, {}
for i = 1, #found, 2 do
  local hidden = string.find(redis.call('HGET', people, found[i]) or '', '"hidden":true', 1, true)
  if not hidden and #display_names < tonumber(rows) then
    ranks[#ranks + 1], ranks[#ranks + 2] = found[i], found[i + 1]
    display_names[#display_names + 1] = redis.call('HGET', names, found[i]) or found[i]
  end
end
return {'ok', about, ranks, display_names, redis.call('HGETALL', state)}
