-- Sets keys of a frozen partition of the wallet store to what the journal says.
-- KEYS log meta
-- ARGV last
-- EACH key / field value
-- `last` is the log id up to which the values count. An empty `field` means the whole key, which is then no hash. An empty
-- `value` means that nothing must be there. A key of another type is deleted first. If that is the meta hash, no gift can
-- be paid, and it begins again as frozen.
-- Returns {ok, what was changed...} | {not_frozen} | {moved}
local changed = {'ok'}
local function note(key, field, held, value)
  changed[#changed + 1] = key .. ' ' .. field .. ' ' .. (held or 'nothing') .. ' -> ' .. (value == '' and 'nothing' or value)
end

local function type_of(key)
  return redis.call('TYPE', key)['ok']
end

if type_of(log) ~= 'stream' and type_of(log) ~= 'none' then
  return {'moved'}
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
local of_meta = type_of(meta)
if of_meta ~= 'hash' and of_meta ~= 'none' then
  redis.call('DEL', meta)
  redis.call('HSET', meta, 'frozen', '1')
  note(meta, '', 'a ' .. of_meta, '')
elseif not redis.call('HGET', meta, 'frozen') then
  return {'not_frozen'}
end
for i = 1, items do
  local key = keys_of(i)
  local field, value = args_of(i)
  local is = type_of(key)
  local held
  if is == (field == '' and 'string' or 'hash') then
    held = field == '' and redis.call('GET', key) or field ~= '' and redis.call('HGET', key, field)
  elseif is ~= 'none' then
    redis.call('DEL', key)
    note(key, '', 'a ' .. is, '')
  end
  if value == '' and held then
    if field == '' then
      redis.call('DEL', key)
    else
      redis.call('HDEL', key, field)
    end
    note(key, field, held, value)
  elseif value ~= '' and held ~= value then
    if field == '' then
      redis.call('SET', key, value)
    else
      redis.call('HSET', key, field, value)
    end
    note(key, field, held, value)
  end
end
return changed
