-- Opens wallet partitions at an epoch. It writes the OPEN marker first, which makes writes at an older epoch fail.
-- KEYS -
-- ARGV -
-- EACH log meta / epoch opened entry
-- `opened` is the store's identity, `entry` the marker's body.
-- Returns the epoch of each partition, which is later when another node has opened it meanwhile
local epochs = {}
local time = redis.call('TIME')
local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
for i = 1, items do
  local log, meta = keys_of(i)
  local epoch, opened, entry = args_of(i)
  local now = redis.call('HGET', meta, 'epoch')
  if not now or tonumber(now) < tonumber(epoch) then
    local id = redis.pcall('XADD', log, epoch .. '-0', 't', at_ms, 'e', entry)
    if type(id) ~= 'table' then
      redis.call('HSET', meta, 'epoch', epoch, 'opened', opened)
      now = epoch
    end
  end
  epochs[i] = now or ''
end
return epochs
