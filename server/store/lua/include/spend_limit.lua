-- spend_limit: what a wallet may spend today (false for no limit), and what it has spent. Days are UTC.
-- A viewer's own limit that was raised or lifted changes on next_day. The smaller of the site's and the viewer's counts.
local function spend_limit(today, site_limit, day, spent, limit, next_limit, next_day)
  local own = tonumber(limit or '0')
  if next_day and today >= tonumber(next_day) then
    own = tonumber(next_limit)
  end
  local most = tonumber(site_limit)
  if own > 0 and (most == 0 or own < most) then
    most = own
  end
  return {most = most > 0 and most, spent = (day and tonumber(day) == today) and tonumber(spent) or 0}
end
