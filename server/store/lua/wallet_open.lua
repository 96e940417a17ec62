-- Opens wallet partitions: gives a new one its first epoch and the OPEN marker that fences older writers.
-- KEYS -
-- ARGV -
-- EACH log meta / partition
-- Returns the epoch of each partition
local epochs = {}
for i = 1, items do
  local log, meta = keys_of(i)
  local partition = args_of(i)
  local epoch = redis.call('HGET', meta, 'epoch')
  if not epoch then
    local time = redis.call('TIME')
    local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
    redis.call('XADD', log, '1-0', 't', at_ms, 'e', '{"kind":"open","partition":' .. partition .. '}')
    redis.call('HSET', meta, 'epoch', '1')
    epoch = '1'
  end
  epochs[i] = epoch
end
return epochs
