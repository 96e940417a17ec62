-- Pays gifts: checks, debits, credits, and writes receipt and ledger entry. Each gift is paid completely or not at all.
-- KEYS -
-- ARGV id_life_ms id_ahead_ms margin_ms combo_s site_limit
-- INCLUDE integer spend_limit
-- EACH wallet credit receipt combo log meta / epoch id_ms fingerprint coins diamonds count in_combo entry
-- Returns per gift {ok, balance, combo, log id} | {duplicate, balance, combo, log id} | {conflict} | {expired_id}
--   | {partition_frozen} | {frozen} | {spend_limit, resets_at_ms} | {insufficient, balance} | {bad_amount} | {stale_epoch}
-- Reads everything before it writes anything, so a key of the wrong type raises an error and changes nothing. The first
-- write of a gift is XADD at its epoch. Only this write can fail, and then that gift changes nothing.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local at_ms = string.format('%d', now)
local coins_of, status_of, credit_of, combo_of, done, totals, closed, moves, limit_of = {}, {}, {}, {}, {}, {}, {}, {}, {}
local today = math.floor(now / 86400000)

for i = 1, items do
  local wallet, credit, receipt, combo, _, meta = keys_of(i)
  if coins_of[wallet] == nil then
    local held = redis.call('HMGET', wallet, 'c', 'st', 'day', 'spent', 'limit', 'next_limit', 'next_day')
    coins_of[wallet] = integer(held[1], wallet)
    status_of[wallet] = held[2] or 'ok'
    limit_of[wallet] = spend_limit(today, site_limit, held[3], held[4], held[5], held[6], held[7])
  end
  if credit_of[credit] == nil then
    credit_of[credit] = integer(redis.call('GET', credit), credit)
  end
  if totals[meta] == nil then
    local moved = redis.call('HMGET', meta, 'coins', 'diamonds', 'frozen')
    totals[meta] = integer(moved[1], meta) + integer(moved[2], meta)
    closed[meta] = moved[3]
    moves[meta] = {0, 0}
  end
  if done[receipt] == nil then
    done[receipt] = redis.call('GET', receipt) or false
  end
  local _, _, _, _, _, _, in_combo = args_of(i)
  if in_combo == '1' and combo_of[combo] == nil then
    combo_of[combo] = integer(redis.call('GET', combo), combo)
  end
end

local function pay(i)
  local wallet, credit, receipt, combo, log, meta = keys_of(i)
  local epoch, id_ms, fingerprint, coins, diamonds, count, in_combo, entry = args_of(i)
  if not (string.find(coins, '^[1-9]%d*$') and #coins <= 9 and (diamonds == '0' or string.find(diamonds, '^[1-9]%d*$')) and #diamonds <= 9
      and string.find(id_ms, '^%d+$') and #id_ms <= 15 and string.find(count, '^[1-9]%d*$') and #count <= 5) then
    return {'bad_amount'}
  end
  if done[receipt] then
    local first_fingerprint, balance, total, id = string.match(done[receipt], '^(%S+) (%d+) (%d+) (%S+)$')
    if first_fingerprint ~= fingerprint then
      return {'conflict'}
    end
    return {'duplicate', balance, total, id}
  end
  local made = tonumber(id_ms)
  if made + tonumber(id_life_ms) < now or made - tonumber(id_ahead_ms) > now then
    return {'expired_id'}
  end
  if closed[meta] then
    return {'partition_frozen'}
  end
  if status_of[wallet] ~= 'ok' then
    return {'frozen'}
  end
  local left = coins_of[wallet] - tonumber(coins)
  if left < 0 then
    return {'insufficient', string.format('%d', coins_of[wallet])}
  end
  local limit = limit_of[wallet]
  if limit.most and limit.spent + tonumber(coins) > limit.most then
    return {'spend_limit', string.format('%d', (today + 1) * 86400000)}
  end
  local earned = credit_of[credit] + tonumber(diamonds)
  local total = 0
  if in_combo == '1' then
    total = combo_of[combo] + tonumber(count)
  end
  local balance, credited, streak = string.format('%d', left), string.format('%d', earned), string.format('%d', total)
  local id = redis.pcall('XADD', log, epoch .. '-*', 't', at_ms, 'b', balance, 'd', credited, 'k', streak, 'e', entry)
  if type(id) == 'table' then
    return {'stale_epoch'}
  end
  limit.spent = limit.spent + tonumber(coins)
  redis.call('HSET', wallet, 'c', balance, 'day', today, 'spent', string.format('%d', limit.spent))
  redis.call('INCRBY', credit, diamonds)
  local moved = moves[meta]
  moved[1], moved[2] = moved[1] + tonumber(coins), moved[2] + tonumber(diamonds)
  if in_combo == '1' then
    redis.call('SET', combo, streak, 'EX', combo_s)
    combo_of[combo] = total
  end
  done[receipt] = fingerprint .. ' ' .. balance .. ' ' .. streak .. ' ' .. id
  redis.call('SET', receipt, done[receipt], 'PXAT', string.format('%d', made + tonumber(id_life_ms) + tonumber(margin_ms)))
  coins_of[wallet], credit_of[credit] = left, earned
  return {'ok', balance, streak, id}
end

-- Write a partition's totals once for all its gifts, even if one of them raises an error.
local results = {}
local fine, trouble = pcall(function()
  for i = 1, items do
    results[i] = pay(i)
  end
end)
for meta, moved in pairs(moves) do
  if moved[1] > 0 then
    redis.call('HINCRBY', meta, 'coins', string.format('%d', moved[1]))
    redis.call('HINCRBY', meta, 'diamonds', string.format('%d', moved[2]))
  end
end
if not fine then
  error(trouble)
end
return results
