-- Credits bought coins to a wallet, once per operation id.
-- KEYS wallet receipt log meta
-- ARGV epoch fingerprint coins balance_max receipt_s entry
-- Returns {ok, balance, entry id} | {duplicate, balance, entry id} | {conflict} | {bad_amount} | {too_rich} | {partition_frozen} | {stale_epoch}
local before = redis.call('HGET', wallet, 'c') or '0'
local done = redis.call('GET', receipt)
if not (string.find(coins, '^[1-9]%d*$') and #coins <= 9) then
  return {'bad_amount'}
end
if done then
  local fp, balance, id = string.match(done, '^(%S+) (%d+) (%S+)$')
  if fp ~= fingerprint then
    return {'conflict'}
  end
  return {'duplicate', balance, id}
end
if redis.call('HGET', meta, 'frozen') then
  return {'partition_frozen'}
end
local after = tonumber(before) + tonumber(coins)
if after > tonumber(balance_max) then
  return {'too_rich'}
end
local time = redis.call('TIME')
local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local balance = string.format('%d', after)
local id = redis.pcall('XADD', log, epoch .. '-*', 't', at_ms, 'b', balance, 'e', entry)
if type(id) == 'table' then
  return {'stale_epoch'}
end
redis.call('HINCRBY', wallet, 'c', coins)
redis.call('HINCRBY', meta, 'bought', coins)
redis.call('SET', receipt, fingerprint .. ' ' .. balance .. ' ' .. id, 'EX', receipt_s)
return {'ok', balance, id}
