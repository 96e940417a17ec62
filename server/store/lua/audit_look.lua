-- Reads a partition in one step: its last id, its totals, and the balances of some wallets.
-- KEYS log meta
-- ARGV -
-- EACH wallet / user_id
-- Returns {last id or '', coins, diamonds, bought, refunded, charged back, balance of each wallet in order}
local last = ''
if redis.call('EXISTS', log) == 1 then
  local about = redis.call('XINFO', 'STREAM', log)
  for n = 1, #about, 2 do
    if about[n] == 'last-generated-id' then
      last = about[n + 1]
    end
  end
end
local totals = redis.call('HMGET', meta, 'coins', 'diamonds', 'bought', 'refunded', 'charged_back')
local found = {last, totals[1] or '0', totals[2] or '0', totals[3] or '0', totals[4] or '0', totals[5] or '0'}
for i = 1, items do
  local wallet = keys_of(i)
  found[#found + 1] = redis.call('HGET', wallet, 'c') or '0'
end
return found
