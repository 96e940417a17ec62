-- Moves a room to another status if its current one is among `allowed`. A new broadcast starts its counts at zero.
-- KEYS meta events live state ended present seen
-- ARGV keep audience allowed status broadcast started_at_ms kept_s body
-- INCLUDE append_event
-- When a broadcast ends, its figures go to `ended`, and who watched it to the set `audience`:<its id>.
-- HOOK new_broadcast
-- `kept_s` is for the room's other keys, unless a broadcast runs. `meta` stays: nobody may use a seq again.
-- Returns {ok} | {unchanged} | {wrong_status, status} | {no_room}
local now = redis.call('HGET', meta, 'status')
if not now then
  return {'no_room'}
end
if now == status then
  return {'unchanged'}
end
if not string.find(allowed, ' ' .. now .. ' ', 1, true) then
  return {'wrong_status', now}
end
local function record()
  local about = redis.call('HMGET', meta, 'broadcast', 'host_id', 'host_name', 'title', 'started_at_ms', 'peak', 'likes', 'chats')
  local here, unique = redis.call('HLEN', present), redis.call('SCARD', seen)
  local peak = string.format('%d', math.max(tonumber(about[6] or '0'), here))
  unique = string.format('%d', unique)
  if unique ~= '0' then
    redis.call('COPY', seen, audience .. about[1], 'REPLACE')  -- `seen` goes on with who comes after the end
    redis.call('EXPIRE', audience .. about[1], kept_s)
  end
  redis.call('HSET', meta, 'peak', peak, 'unique', unique, 'unsummed', '1')
  redis.call('HSET', ended, about[1], cjson.encode({host_id = about[2], host_name = about[3], title = about[4],
    status = status, started_at_ms = about[5], ended_at_ms = string.format('%d', now_ms()), peak = peak, unique = unique,
    likes = about[7] or '0', chats = about[8] or '0'}))
end
if (now == 'live' or now == 'paused') and status ~= 'live' and status ~= 'paused' then
  record()
end
redis.call('HSET', meta, 'status', status)
if status ~= 'live' and status ~= 'paused' then
  redis.call('HSET', meta, 'kept_s', kept_s)
  for _, key in ipairs(KEYS) do
    if key ~= meta then
      redis.call('EXPIRE', key, kept_s)
    end
  end
end
if broadcast ~= '' then
  redis.call('HDEL', meta, 'kept_s')
  for _, key in ipairs(KEYS) do
    redis.call('PERSIST', key)
  end
  redis.call('DEL', state)
  redis.call('HSET', meta, 'broadcast', broadcast, 'started_at_ms', started_at_ms)
  new_broadcast()
end
append_event(meta, events, live, keep, body)
return {'ok'}
