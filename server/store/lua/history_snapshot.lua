-- Reads a room exactly as of its seq: its definition, its board, and what features keep for newcomers.
-- KEYS meta board names state
-- ARGV rows
-- Returns {ok, meta pairs, board pairs, display names of the board, state pairs} | {no_room}
local about = redis.call('HGETALL', meta)
if #about == 0 then
  return {'no_room'}
end
local ranks = redis.call('ZREVRANGE', board, 0, tonumber(rows) - 1, 'WITHSCORES')
local display_names = {}
for i = 1, #ranks, 2 do
  display_names[#display_names + 1] = redis.call('HGET', names, ranks[i]) or ranks[i]
end
return {'ok', about, ranks, display_names, redis.call('HGETALL', state)}
