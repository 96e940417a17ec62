-- set_limit: writes the limit that was ordered on a day, from what the wallet held. A later replay gives the same result.
-- Returns that day's limit or 0, the next limit or '', and its first day or ''.
local function set_limit(wallet, today, coins, limit, next_limit, next_day)
  local own, wanted = tonumber(limit or '0'), tonumber(coins)
  if next_day and today >= tonumber(next_day) then
    own = tonumber(next_limit)
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
