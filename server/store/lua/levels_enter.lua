-- Tells a room who has come in, at a bounded rate, and nobody twice in `again_ms`: sockets come back.
-- KEYS meta events live people entered
-- ARGV keep again_ms burst every_ms
-- EACH / user_id event
-- INCLUDE append_event since_ms
-- Returns {ok, told} | {no_room}
-- A hidden person is shown to nobody. The room's bound is the same over all nodes: one each `every_ms`, `burst` at once.
local about = redis.call('HMGET', meta, 'epoch', 'entered_left', 'entered_at')
if not about[1] then
  return {'no_room'}
end
local now, told = now_ms(), 0
redis.call('ZREMRANGEBYSCORE', entered, '-inf', now - again_ms)
redis.call('ZREMRANGEBYSCORE', entered, string.format('(%d', now), '+inf')
local left = math.min(tonumber(burst), (tonumber(about[2]) or tonumber(burst)) + since_ms(now, about[3]) / every_ms)
for i = 1, items do
  local user_id, event = args_of(i)
  local hidden = string.find(redis.call('HGET', people, user_id) or '', '"hidden":true', 1, true)
  if not hidden and left >= 1 and not redis.call('ZSCORE', entered, user_id) then
    left, told = left - 1, told + 1
    redis.call('ZADD', entered, string.format('%d', now), user_id)
    append_event(meta, events, live, keep, event)
  end
end
redis.call('PEXPIRE', entered, again_ms)
redis.call('HSET', meta, 'entered_left', string.format('%.3f', left), 'entered_at', string.format('%d', now))
return {'ok', told}
