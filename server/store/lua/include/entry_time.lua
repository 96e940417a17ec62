-- entry_time: the time that an entry gets, which is the store's, but on the day of money time.
-- The journal counts by it what somebody spent on a day, and when a limit began.
local function entry_time(now, today)
  return string.format('%d', math.max(today * 86400000, math.min(now, (today + 1) * 86400000 - 1)))
end
