-- Puts back claims on the ids of top-ups, unless somebody has them. Takes away expiries, which an older program set.
-- KEYS -
-- ARGV -
-- EACH claim / fingerprint
-- Returns how many were put back
local put = 0
for i = 1, items do
  local claim = keys_of(i)
  local fingerprint = args_of(i)
  if redis.call('SET', claim, fingerprint, 'NX') then
    put = put + 1
  end
  redis.call('PERSIST', claim)
end
return put
