-- take_lease: takes or renews a lease for `lease_ms`. Returns false while another node holds it. A dead holder's expires.
-- One that lasts longer than `lease_ms` is from before the store's clock was set back, and is nobody's.
local function take_lease(lease, token, lease_ms)
  local holder = redis.call('GET', lease)
  if holder and holder ~= token and redis.call('PTTL', lease) <= tonumber(lease_ms) then
    return false
  end
  redis.call('SET', lease, token, 'PX', lease_ms)
  return true
end
