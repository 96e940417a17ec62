-- Reads a partition in one step: its last log id, its meta hash, and some of its wallets and counters.
-- KEYS log meta
-- ARGV fields
-- EACH account / kind
-- `fields` names the meta hash's fields, with spaces between them. `kind` is `wallet` or `counter`.
-- Returns {last log id or '', {each field}, then per account {a wallet's fields} | {a counter} | {} for another type}
local last = ''
if redis.call('EXISTS', log) == 1 then
  local about = redis.call('XINFO', 'STREAM', log)
  for n = 1, #about, 2 do
    if about[n] == 'last-generated-id' then
      last = about[n + 1]
    end
  end
end
local names = {}
for name in string.gmatch(fields, '%S+') do
  names[#names + 1] = name
end
local found = {last, redis.call('HMGET', meta, unpack(names))}
for i = 1, items do
  local account, kind = keys_of(i), args_of(i)
  local held
  if kind == 'wallet' then
    held = redis.pcall('HMGET', account, 'c', 'st', 'limit', 'next_limit', 'next_day', 'day', 'spent', 'st_ms', 'limit_ms')
  else
    held = redis.pcall('GET', account)
  end
  if type(held) == 'table' and held.err then
    found[i + 2] = {}
  elseif kind == 'wallet' then
    found[i + 2] = held
  else
    found[i + 2] = {held}
  end
end
return found
