-- Reads a board: its first places, and somebody's own. Hidden people are not on it.
-- KEYS meta one names_of tally_whole
-- ARGV epoch checked single rows user_id hidden
-- Returns {ok, user, name, coins, ...}, {rank or 0, coins, of the next place or -1} | {not_whole} | {no_room}
-- `hidden` is a JSON object whose names count. On a board of single gifts a member is "<gift> <user>".
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
if checked == '1' and redis.call('GET', tally_whole) ~= epoch then
  return {'not_whole'}
end
local gone, count = cjson.decode(hidden), 0
for _ in pairs(gone) do
  count = count + 1
end
local top, seen, place = {}, {}, 0
local mine, my_rank, before = '0', 0, '-1'
local last = single == '1' and -1 or tonumber(rows) + count - 1
local ranks = redis.call('ZREVRANGE', one, 0, last, 'WITHSCORES')
local previous = '-1'
for i = 1, #ranks, 2 do
  local user = single == '1' and string.match(ranks[i], ' (.*)$') or ranks[i]
  if not gone[user] and not seen[user] then
    seen[user] = true
    place = place + 1
    if user == user_id then
      mine, my_rank, before = ranks[i + 1], place, previous
    end
    if place <= tonumber(rows) then
      top[#top + 1] = user
      top[#top + 1] = redis.call('HGET', names_of, user) or user
      top[#top + 1] = ranks[i + 1]
    end
    previous = ranks[i + 1]
  end
end
if my_rank == 0 and single ~= '1' then
  local score = redis.call('ZSCORE', one, user_id)
  if score and not gone[user_id] then
    local index = redis.call('ZREVRANK', one, user_id)
    mine, my_rank = score, index + 1
    for user in pairs(gone) do
      if (redis.call('ZREVRANK', one, user) or index) < index then
        my_rank = my_rank - 1
      end
    end
    local ahead = index > 0 and redis.call('ZREVRANGE', one, math.max(0, index - 1 - count), index - 1, 'WITHSCORES') or {}
    for i = 1, #ahead, 2 do
      before = gone[ahead[i]] and before or ahead[i + 1]
    end
  else
    previous = redis.call('ZREVRANGE', one, -1, -1, 'WITHSCORES')[2] or '-1'
  end
end
if my_rank == 0 then
  before = previous
end
return {'ok', top, {tostring(my_rank), mine, before}}
