-- Pays gifts: checks, debits, credits, and writes receipt and ledger entry. Each gift is paid completely or not at all.
-- KEYS -
-- ARGV id_life_ms id_ahead_ms combo_s site_limit
-- INCLUDE integer spend_limit entry_time
-- EACH wallet credit receipt receipts combo log meta / epoch id_ms fingerprint coins diamonds count in_combo entry
-- Returns per gift {ok, balance, combo, log id} | {duplicate, balance, combo, log id} | {conflict} | {expired_id}
--   | {partition_frozen} | {frozen} | {spend_limit, resets_at_ms} | {insufficient, balance} | {bad_amount} | {stale_epoch}
-- Receipts are fields of `receipts`, the hash of ten minutes of ids. `receipt` is where an older program wrote a string;
-- a partition's `strings` is the last id time for which there may be one. Both are read before the id's time is checked.
-- Which ids are too old, and the day of a limit, follow from the partition's money time `now`, never from the store's
-- clock. That clock may only let through ids that are ahead of money time, when the journal is away.
-- Reads everything before it writes anything, so a key of the wrong type raises an error and changes nothing. The first
-- write of a gift is XADD at its epoch. Only this write can fail, and then that gift changes nothing. It makes no log:
-- the ids of a new one would be those that the journal has passed.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local coins_of, status_of, credit_of, combo_of, done, moves, limit_of = {}, {}, {}, {}, {}, {}, {}
local about_of = {} -- by meta: the partition's sums, whether it is closed, and its time
local fields = {}

local function read_about(meta)
  local held = redis.call('HMGET', meta, 'coins', 'diamonds', 'frozen', 'now', 'forgot', 'strings')
  integer(held[1], meta)
  integer(held[2], meta)
  local about = {closed = held[3], strings = integer(held[6], meta)}
  if held[4] then
    local money = integer(held[4], meta)
    about.floor = math.max(money - tonumber(id_life_ms), integer(held[5], meta))
    about.ceiling = math.max(money, now) + tonumber(id_ahead_ms)
    about.today = math.floor(money / 86400000)
    about.at_ms = entry_time(now, about.today)
  end
  return about
end

for i = 1, items do
  local wallet, credit, receipt, receipts, combo, _, meta = keys_of(i)
  local about = about_of[meta]
  if not about then
    about = read_about(meta)
    about_of[meta] = about
    moves[meta] = {0, 0}
  end
  if coins_of[wallet] == nil then
    local held = redis.call('HMGET', wallet, 'c', 'st', 'day', 'spent', 'limit', 'next_limit', 'next_day')
    coins_of[wallet] = integer(held[1], wallet)
    status_of[wallet] = held[2] or 'ok'
    limit_of[wallet] = spend_limit(about.today or 0, site_limit, held[3], held[4], held[5], held[6], held[7])
  end
  if credit_of[credit] == nil then
    credit_of[credit] = integer(redis.call('GET', credit), credit)
  end
  local _, id_ms, _, _, _, _, in_combo = args_of(i)
  if done[receipt] == nil then
    fields[receipt] = string.sub(receipt, string.find(receipt, '}', 1, true) + 4)
    local found = redis.call('HGET', receipts, fields[receipt])
    if not found and (tonumber(id_ms) or 0) <= about.strings then
      found = redis.call('GET', receipt)
    end
    done[receipt] = found
  end
  if in_combo == '1' and combo_of[combo] == nil then
    combo_of[combo] = integer(redis.call('GET', combo), combo)
  end
end

local function pay(i)
  local wallet, credit, receipt, receipts, combo, log, meta = keys_of(i)
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
  local about, made = about_of[meta], tonumber(id_ms)
  if not about.floor then
    return {'stale_epoch'}
  end
  if made <= about.floor or made > about.ceiling then
    return {'expired_id'}
  end
  if about.closed then
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
    return {'spend_limit', string.format('%d', (about.today + 1) * 86400000)}
  end
  local earned = credit_of[credit] + tonumber(diamonds)
  local total = 0
  if in_combo == '1' then
    total = combo_of[combo] + tonumber(count)
  end
  local balance, credited, streak = string.format('%d', left), string.format('%d', earned), string.format('%d', total)
  local id = redis.pcall('XADD', log, 'NOMKSTREAM', epoch .. '-*', 't', about.at_ms, 'b', balance, 'd', credited, 'k', streak, 'e', entry)
  if type(id) ~= 'string' then
    return {'stale_epoch'}
  end
  limit.spent = limit.spent + tonumber(coins)
  redis.call('HSET', wallet, 'c', balance, 'day', about.today, 'spent', string.format('%d', limit.spent))
  redis.call('INCRBY', credit, diamonds)
  local moved = moves[meta]
  moved[1], moved[2] = moved[1] + tonumber(coins), moved[2] + tonumber(diamonds)
  if in_combo == '1' then
    redis.call('SET', combo, streak, 'EX', combo_s)
    combo_of[combo] = total
  end
  done[receipt] = fingerprint .. ' ' .. balance .. ' ' .. streak .. ' ' .. id
  redis.call('HSET', receipts, fields[receipt], done[receipt])
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
