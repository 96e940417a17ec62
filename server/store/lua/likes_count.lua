-- Adds a node's latest likes to the room's total, and publishes the total and the names of the top likers.
-- KEYS meta events live likers names people
-- ARGV keep per_user_max top_rows event row broadcast
-- EACH / user_id user_name count
-- INCLUDE append_event fill
-- HOOK likes_counted added
-- Hidden people count in the total, and stand among nobody's top likers.
-- Returns {ok, total} | {other_broadcast}: these likes belong to an earlier broadcast | {no_room}
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
if broadcast ~= (redis.call('HGET', meta, 'broadcast') or '') then
  return {'other_broadcast'}
end
local added = 0
for i = 1, items do
  local user_id, user_name, count = args_of(i)
  local before = tonumber(redis.call('ZSCORE', likers, user_id) or '0')
  local counted = math.min(tonumber(count), tonumber(per_user_max) - before)
  if counted > 0 then
    redis.call('ZINCRBY', likers, counted, user_id)
    redis.call('HSET', names, user_id, user_name)
    added = added + counted
  end
end
if added == 0 then
  return {'ok', redis.call('HGET', meta, 'likes') or '0'}
end
local total = redis.call('HINCRBY', meta, 'likes', added)
likes_counted(added)
local ranks = redis.call('ZREVRANGE', likers, 0, 4 * tonumber(top_rows) - 1, 'WITHSCORES')
local top = {}
for i = 1, #ranks, 2 do
  local hidden = string.find(redis.call('HGET', people, ranks[i]) or '', '"hidden":true', 1, true)
  if not hidden and #top < tonumber(top_rows) then
    local name = redis.call('HGET', names, ranks[i]) or ranks[i]
    top[#top + 1] = fill(row, {user_id = cjson.encode(ranks[i]), name = cjson.encode(name), count = ranks[i + 1]})
  end
end
append_event(meta, events, live, keep, fill(event, {added = string.format('%d', added), total = string.format('%d', total),
  top = '[' .. table.concat(top, ',') .. ']'}))
return {'ok', string.format('%d', total)}
