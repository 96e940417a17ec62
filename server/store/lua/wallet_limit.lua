-- Sets a viewer's own daily limit once, and logs the order.
-- A lower limit applies at once. A higher one, or none, applies from tomorrow (UTC), by the partition's money time.
-- KEYS wallet receipt log meta
-- ARGV epoch fingerprint coins ordered_ms entry
-- INCLUDE integer overtaken set_limit entry_time
-- Returns {ok, balance, log id, today's limit or 0, the next limit or '', its first day or ''} | {duplicate, as ok}
--   | {conflict} | {overtaken} | {partition_frozen} | {stale_epoch}
local held = redis.call('HMGET', wallet, 'c', 'limit', 'next_limit', 'next_day', 'limit_ms')
local limit = {held[2], held[3], held[4]}
local about = redis.call('HMGET', meta, 'frozen', 'now')
local done = redis.call('GET', receipt)
local balance = string.format('%d', integer(held[1], wallet))
local today = math.floor(integer(about[2] or '0', meta) / 86400000)
if done then
  local first_fingerprint, first_balance, id = string.match(done, '^(%S+) (%d+) (%S+)$')
  if first_fingerprint ~= fingerprint then
    return {'conflict'}
  end
  local waits = held[4] and today < tonumber(held[4])
  local now = string.format('%d', limit_of(today, limit))
  return {'duplicate', first_balance, id, now, waits and held[3] or '', waits and held[4] or ''}
end
if about[1] then
  return {'partition_frozen'}
end
if overtaken(ordered_ms, held[5]) then
  return {'overtaken'}
end
if not about[2] then
  return {'stale_epoch'}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local id = redis.pcall('XADD', log, 'NOMKSTREAM', epoch .. '-*', 't', entry_time(now, today), 'b', balance, 'e', entry)
if type(id) ~= 'string' then
  return {'stale_epoch'}
end
redis.call('SET', receipt, fingerprint .. ' ' .. balance .. ' ' .. id)
return {'ok', balance, id, set_limit(wallet, today, coins, ordered_ms, limit)}
