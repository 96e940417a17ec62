-- Sets a viewer's own daily limit: a lower one holds at once, a higher one or none from tomorrow on (UTC).
-- KEYS wallet
-- ARGV coins
-- Returns {limit that holds today or 0, limit that comes or '', day it comes or ''}
local time = redis.call('TIME')
local today = math.floor(tonumber(time[1]) / 86400)
local held = redis.call('HMGET', wallet, 'limit', 'next_limit', 'next_day')
local own, wanted = tonumber(held[1] or '0'), tonumber(coins)
if held[3] and today >= tonumber(held[3]) then
  own = tonumber(held[2])
end
redis.call('HDEL', wallet, 'next_limit', 'next_day')
if own == 0 or (wanted > 0 and wanted <= own) then
  redis.call('HSET', wallet, 'limit', coins)
  return {coins, '', ''}
end
local tomorrow = string.format('%d', today + 1)
redis.call('HSET', wallet, 'limit', string.format('%d', own), 'next_limit', coins, 'next_day', tomorrow)
return {string.format('%d', own), coins, tomorrow}
