-- set_limit: writes the limit that was ordered on a day, from what the wallet held. A later replay gives the same result.
-- `held` is {limit, next_limit, next_day} of the wallet.
-- Returns that day's limit or 0, the next limit or '', and its first day or ''.
local function limit_of(today, held)
  if held[3] and today >= tonumber(held[3]) then
    return tonumber(held[2])
  end
  return tonumber(held[1] or '0')
end

local function set_limit(wallet, today, coins, ordered_ms, held)
  local own, wanted = limit_of(today, held), tonumber(coins)
  if ordered_ms ~= '0' then
    redis.call('HSET', wallet, 'limit_ms', ordered_ms)
  end
  if own == 0 or (wanted > 0 and wanted <= own) then
    redis.call('HDEL', wallet, 'next_limit', 'next_day')
    redis.call('HSET', wallet, 'limit', coins)
    return coins, '', ''
  end
  local holds, tomorrow = string.format('%d', own), string.format('%d', today + 1)
  redis.call('HSET', wallet, 'limit', holds, 'next_limit', coins, 'next_day', tomorrow)
  return holds, coins, tomorrow
end
