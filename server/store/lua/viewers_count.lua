-- Updates a node's viewers of a room, removes dead nodes, and publishes the count at most every `every_ms`.
-- KEYS meta events live present nodes mine seen
-- ARGV keep node_id node_prefix gone_ms every_ms event count_in
-- EACH / change user_id
-- INCLUDE append_event fill since_ms
-- HOOK viewers_counted here
-- Returns {ok, published | later | same, known | new}: `known` if the store already counted this node | {no_room}
-- A node's set is named node_prefix .. node_id. `change` is + or -. `count_in` is 0 when the node closes the room.
if redis.call('EXISTS', meta) == 0 then
  return {'no_room', 'same', 'known'}
end
local function leave(user_id)
  if redis.call('HINCRBY', present, user_id, -1) <= 0 then
    redis.call('HDEL', present, user_id)
  end
end
local now = now_ms()
for _, node in ipairs(redis.call('ZRANGEBYSCORE', nodes, string.format('(%d', now), '+inf')) do
  redis.call('ZADD', nodes, now, node)  -- from before the clock was set back: a dead node must not stay for long
end
local gone = redis.call('ZRANGEBYSCORE', nodes, '-inf', now - tonumber(gone_ms))
for _, node in ipairs(gone) do
  for _, user_id in ipairs(redis.call('SMEMBERS', node_prefix .. node)) do
    leave(user_id)
  end
  redis.call('DEL', node_prefix .. node)
  redis.call('ZREM', nodes, node)
end
for i = 1, items do
  local change, user_id = args_of(i)
  if change == '+' then
    if redis.call('SADD', mine, user_id) == 1 then
      redis.call('HINCRBY', present, user_id, 1)
    end
    redis.call('SADD', seen, user_id)
  elseif redis.call('SREM', mine, user_id) == 1 then
    leave(user_id)
  end
end
local known = redis.call('ZSCORE', nodes, node_id) and 'known' or 'new'
if count_in == '1' then
  redis.call('ZADD', nodes, now, node_id)
else
  redis.call('ZREM', nodes, node_id)
end
local here, unique = redis.call('HLEN', present), redis.call('SCARD', seen)
local about = redis.call('HMGET', meta, 'now', 'peak', 'unique', 'viewers_at', 'kept_s')
if about[5] then  -- no broadcast runs; a node with viewers calls every few seconds
  redis.call('EXPIRE', seen, about[5])
  redis.call('EXPIRE', present, about[5])
end
local since = since_ms(now, about[4])
local changed = tonumber(about[1] or '0') ~= here or tonumber(about[3] or '0') ~= unique
if not changed or since < tonumber(every_ms) then
  return {'ok', changed and 'later' or 'same', known}
end
local peak = math.max(tonumber(about[2] or '0'), here)
redis.call('HSET', meta, 'now', here, 'peak', peak, 'unique', unique, 'viewers_at', string.format('%d', now))
viewers_counted(here)
append_event(meta, events, live, keep, fill(event, {now = here, peak = string.format('%d', peak), unique = unique}))
return {'ok', 'published', known}
