-- boards_windows: returns the boards on which a gift counts, each with how long it stays.
-- A gift belongs to the day of the time in its id, whatever happens to it later: so it is found again there. Weeks begin
-- on Mondays (1970-01-01 was a Thursday). All of it is UTC.
local function boards_windows(gift_id, of_now, day_s, week_s, all_s)
  local windows = {all = all_s}
  local ms = tonumber(string.sub(gift_id, 1, 8) .. string.sub(gift_id, 10, 13), 16)
  if ms then
    local day = math.floor(ms / 86400000)
    windows[string.format('day-%d', day)] = day_s
    windows[string.format('week-%d', math.floor((day + 3) / 7))] = week_s
  end
  if of_now then
    windows.broadcast = all_s
  end
  return windows
end
