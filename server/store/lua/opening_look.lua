-- Reads the epoch, the last log id and the money time of wallet partitions.
-- KEYS -
-- ARGV -
-- EACH log meta / partition
-- Returns per partition {epoch or '', last log id or '', identity of the store that it was last opened on or '', money time or ''}
local found = {}
for i = 1, items do
  local log, meta = keys_of(i)
  local last = ''
  if redis.call('EXISTS', log) == 1 then
    local about = redis.call('XINFO', 'STREAM', log)
    for n = 1, #about, 2 do
      if about[n] == 'last-generated-id' then
        last = about[n + 1]
      end
    end
  end
  local about = redis.call('HMGET', meta, 'epoch', 'opened', 'now')
  found[i] = {about[1] or '', last, about[2] or '', about[3] or ''}
end
return found
