-- Reads a partition in one step: its last log id, its totals, and the balances of some wallets.
-- KEYS log meta
-- ARGV counters
-- EACH wallet / user_id
-- `counters` has the names of the totals, with spaces between them.
-- Returns {last log id or '', each total, each wallet's balance}
local last = ''
if redis.call('EXISTS', log) == 1 then
  local about = redis.call('XINFO', 'STREAM', log)
  for n = 1, #about, 2 do
    if about[n] == 'last-generated-id' then
      last = about[n + 1]
    end
  end
end
local found = {last}
for name in string.gmatch(counters, '%S+') do
  found[#found + 1] = redis.call('HGET', meta, name) or '0'
end
for i = 1, items do
  local wallet = keys_of(i)
  found[#found + 1] = redis.call('HGET', wallet, 'c') or '0'
end
return found
