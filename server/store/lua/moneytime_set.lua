-- Sets a partition's money time, which only moves forward.
-- KEYS meta
-- ARGV now_ms forgot_ms id_ahead_ms
-- Returns the partition's money time
-- A partition that has none gets `forgot_ms`, too: no receipts are older. If it has an epoch, an older program kept its
-- receipts as strings, whose ids are at most `id_ahead_ms` ahead of the store's clock; `strings` notes until when.
local held = redis.call('HMGET', meta, 'now', 'epoch')
if held[1] and tonumber(held[1]) >= tonumber(now_ms) then
  return held[1]
end
if not held[1] then
  redis.call('HSET', meta, 'forgot', forgot_ms)
  if held[2] then
    local time = redis.call('TIME')
    local last = math.max(tonumber(time[1]) * 1000 + 1000, tonumber(now_ms)) + tonumber(id_ahead_ms)
    redis.call('HSET', meta, 'strings', string.format('%d', last))
  end
end
redis.call('HSET', meta, 'now', now_ms)
return now_ms
