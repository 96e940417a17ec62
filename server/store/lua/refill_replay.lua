-- Puts back journaled entries that the store has lost, in order: log, balances, receipts, totals. Existing entries stay.
-- KEYS log meta lease
-- ARGV today token lease_ms
-- EACH wallet credit receipt / id at_ms balance credited combo entry receipt_text receipt_field coins total diamonds total_diamonds status ordered_ms also value
-- INCLUDE overtaken set_limit set_status take_lease
-- Returns how many entries were put back, or -1 when another node holds the lease
-- An empty balance, total or status changes nothing. `also` says what `value` is: coins spent that `day`, the viewer's
-- `own_limit`, the partition's `epoch`, or `nothing`. The entries' own times decide on which day coins were spent and when
-- a limit began, but never later than `today`: the store's clock may have been ahead. A receipt with a `receipt_field`
-- is a field of the hash `receipt`, any other a string. A key of another type raises before its entry has any effect: the
-- next try goes on there.
if not take_lease(lease, token, lease_ms) then
  return -1
end
local put = 0
for i = 1, items do
  local wallet, credit, receipt = keys_of(i)
  local id, at_ms, balance, credited, combo, entry, receipt_text, receipt_field, coins, total, diamonds, total_diamonds, status, ordered_ms, also, value = args_of(i)
  local fields = {'t', at_ms}
  if balance ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'b', balance
  end
  if credited ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'd', credited
    fields[#fields + 1], fields[#fields + 2] = 'k', combo
  end
  fields[#fields + 1], fields[#fields + 2] = 'e', entry
  if balance ~= '' or status ~= '' or also == 'own_limit' then
    redis.call('HGET', wallet, 'c')
  end
  if credited ~= '' then
    redis.call('GET', credit)
  end
  if receipt_text ~= '' and receipt_field ~= '' then
    redis.call('HGET', receipt, receipt_field)
  end
  local done = redis.pcall('XADD', log, id, unpack(fields))
  if type(done) == 'table' and not string.find(done.err, 'equal or smaller', 1, true) then
    return done
  end
  if type(done) ~= 'table' then
    put = put + 1
    if balance ~= '' then
      redis.call('HSET', wallet, 'c', balance)
    end
    if credited ~= '' then
      redis.call('SET', credit, credited)
    end
    if total ~= '' then
      redis.call('HINCRBY', meta, total, coins)
    end
    if total_diamonds ~= '' then
      redis.call('HINCRBY', meta, total_diamonds, diamonds)
    end
    if status ~= '' then
      set_status(wallet, status, ordered_ms, redis.call('HGET', wallet, 'st_ms'))
    end
    if receipt_text ~= '' then
      if receipt_field ~= '' then
        redis.call('HSET', receipt, receipt_field, receipt_text)
      else
        redis.call('SET', receipt, receipt_text)
      end
    end
    local day = math.min(math.floor(tonumber(at_ms) / 86400000), tonumber(today))
    if also == 'day' then
      local held = redis.call('HMGET', wallet, 'day', 'spent')
      local spent = (held[1] and tonumber(held[1]) == day) and tonumber(held[2]) or 0
      redis.call('HSET', wallet, 'day', day, 'spent', string.format('%d', spent + tonumber(value)))
    elseif also == 'own_limit' then
      local held = redis.call('HMGET', wallet, 'limit', 'next_limit', 'next_day')
      set_limit(wallet, day, value, ordered_ms, held)
    elseif also == 'epoch' then
      redis.call('HSET', meta, 'epoch', value)
    end
  end
end
return put
