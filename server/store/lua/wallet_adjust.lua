-- Carries out an order of the host platform on a wallet, once: a top-up, refund, chargeback, freeze or unfreeze.
-- KEYS wallet receipt log meta
-- ARGV epoch fingerprint delta status ordered_ms total balance_max entry
-- INCLUDE integer overtaken set_status
-- Returns {ok, balance, log id} | {duplicate, balance, log id} | {conflict} | {insufficient, balance} | {bad_amount}
--   | {too_rich} | {overtaken} | {partition_frozen} | {stale_epoch}
-- `delta` is the change in coins, negative for a loss. `status` '' keeps the current one, and so does an order that a
-- newer one has overtaken: one that only sets the status is refused. `total` names the partition's sum that changes.
-- The receipt has no expiry: the journal process deletes it when SQL has had the order for long.
local held = redis.call('HMGET', wallet, 'c', 'st_ms')
local moved = redis.call('HMGET', meta, total, 'frozen')
local done = redis.call('GET', receipt)
local before = integer(held[1], wallet)
integer(moved[1], meta)
local digits = string.match(delta, '^%-?([1-9]%d*)$')
if not (digits and #digits <= 9 or delta == '0') then
  return {'bad_amount'}
end
if done then
  local first_fingerprint, balance, id = string.match(done, '^(%S+) (%d+) (%S+)$')
  if first_fingerprint ~= fingerprint then
    return {'conflict'}
  end
  return {'duplicate', balance, id}
end
if moved[2] then
  return {'partition_frozen'}
end
if status ~= '' and total == '' and overtaken(ordered_ms, held[2]) then
  return {'overtaken'}
end
local after = before + tonumber(delta)
if after < 0 then
  return {'insufficient', held[1] or '0'}
end
if after > tonumber(balance_max) then
  return {'too_rich'}
end
local time = redis.call('TIME')
local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local balance = string.format('%d', after)
local id = redis.pcall('XADD', log, 'NOMKSTREAM', epoch .. '-*', 't', at_ms, 'b', balance, 'e', entry)
if type(id) ~= 'string' then
  return {'stale_epoch'}
end
redis.call('HINCRBY', wallet, 'c', delta)
set_status(wallet, status, ordered_ms, held[2])
if delta ~= '0' then
  redis.call('HINCRBY', meta, total, string.format('%d', math.abs(tonumber(delta))))
end
redis.call('SET', receipt, fingerprint .. ' ' .. balance .. ' ' .. id)
return {'ok', balance, id}
