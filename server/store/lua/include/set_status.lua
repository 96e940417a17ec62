-- set_status: writes the status that an order sets, and when the order was recorded. '' changes nothing.
local function set_status(wallet, status, ordered_ms, held_ms)
  if status == '' or overtaken(ordered_ms, held_ms) then
    return
  end
  redis.call('HSET', wallet, 'st', status)
  if ordered_ms ~= '0' then
    redis.call('HSET', wallet, 'st_ms', ordered_ms)
  end
end
