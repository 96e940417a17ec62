-- Moves a room to another status if its current one is among `allowed`. A new broadcast starts its counts at zero.
-- KEYS meta events live state
-- ARGV keep allowed status broadcast started_at_ms kept_s body
-- INCLUDE append_event
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
