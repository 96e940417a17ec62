-- since_ms: how long ago something was. A time in the future is from before the store's clock was set back: long ago.
local function since_ms(now, at)
  at = tonumber(at)
  return at and at <= now and now - at or math.huge
end
