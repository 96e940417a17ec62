-- Deletes a partition's oldest receipts: hashes of ten minutes of gift ids each.
-- KEYS meta
-- ARGV id_life_ms margin_ms
-- EACH receipts / end_ms
-- Returns how many were deleted
-- `end_ms` is the id time at which a hash ends; they come in order. One that ends less than `margin_ms` below the floor
-- stays, and so do those after it: somebody may still ask about a gift whose answer was lost. Ids before `forgot` are
-- refused from now on, even if money time is lost.
local held = redis.call('HMGET', meta, 'now', 'forgot')
local forgot = tonumber(held[2] or '0')
local last = tonumber(held[1] or '0') - tonumber(id_life_ms) - tonumber(margin_ms)
for i = 1, items do
  local receipts = keys_of(i)
  local end_ms = args_of(i)
  if tonumber(end_ms) > last then
    return i - 1
  end
  if tonumber(end_ms) > forgot then
    redis.call('HSET', meta, 'forgot', end_ms)
  end
  redis.call('UNLINK', receipts)
end
return items
