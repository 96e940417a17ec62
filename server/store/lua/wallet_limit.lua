-- Sets a viewer's own daily limit, and logs the order.
-- A lower limit applies at once. A higher one, or none, applies from tomorrow (UTC), by the partition's money time.
-- KEYS wallet log meta
-- ARGV epoch coins entry
-- INCLUDE integer set_limit entry_time
-- Returns {ok, balance, log id, today's limit or 0, the next limit or '', its first day or ''}
--   | {partition_frozen} | {stale_epoch}
local held = redis.call('HMGET', wallet, 'c', 'limit', 'next_limit', 'next_day')
local about = redis.call('HMGET', meta, 'frozen', 'now')
local balance = string.format('%d', integer(held[1], wallet))
local today = math.floor(integer(about[2] or '0', meta) / 86400000)
if about[1] then
  return {'partition_frozen'}
end
if not about[2] then
  return {'stale_epoch'}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local id = redis.pcall('XADD', log, epoch .. '-*', 't', entry_time(now, today), 'b', balance, 'e', entry)
if type(id) == 'table' then
  return {'stale_epoch'}
end
return {'ok', balance, id, set_limit(wallet, today, coins, held[2], held[3], held[4])}
