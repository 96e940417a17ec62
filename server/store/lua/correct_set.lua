-- Sets balances and totals of a frozen partition of the wallet store to what the journal says.
-- KEYS log meta
-- ARGV last
-- EACH key / field value
-- `last` is the log id up to which the values count. An empty `field` means that the key is a number, not a hash.
-- Returns {ok, what was changed...} | {not_frozen} | {moved}
if not redis.call('HGET', meta, 'frozen') then
  return {'not_frozen'}
end
local now = ''
if redis.call('EXISTS', log) == 1 then
  local about = redis.call('XINFO', 'STREAM', log)
  for n = 1, #about, 2 do
    if about[n] == 'last-generated-id' then
      now = about[n + 1]
    end
  end
end
if now ~= last then
  return {'moved'}
end
local changed = {'ok'}
for i = 1, items do
  local key = keys_of(i)
  local field, value = args_of(i)
  local held = field == '' and redis.call('GET', key) or field ~= '' and redis.call('HGET', key, field)
  if (held or '0') ~= value then
    if field == '' then
      redis.call('SET', key, value)
    else
      redis.call('HSET', key, field, value)
    end
    changed[#changed + 1] = key .. ' ' .. field .. ' ' .. (held or '0') .. ' -> ' .. value
  end
end
return changed
