-- boards_counting: the boards on which a gift counts, with their keys, and how much a single gift must have to be on one.
-- Gifts of a call are mostly of one day: what the first of them found out holds for the others. `least` is what the
-- last of a full board has; who has less would be trimmed anyway. `fresh`: its time to live was not set in this call.
local boards_known = {}

local function boards_counting(tally, singles_max, gift_id, of_now, day_s, week_s, all_s)
  local ms = tonumber(string.sub(gift_id, 1, 8) .. string.sub(gift_id, 10, 13), 16)
  local which = (ms and math.floor(ms / 86400000) or -1) * 2 + (of_now and 1 or 0)
  local boards = boards_known[which]
  if not boards then
    boards = {}
    for window, kept_s in pairs(boards_windows(gift_id, of_now, day_s, week_s, all_s)) do
      local board = {kept_s = kept_s, fresh = true, singles = tally .. ':' .. window .. ':single'}
      board.sums = window ~= 'broadcast' and tally .. ':' .. window .. ':sum'
      board.least = tonumber(redis.call('ZRANGE', board.singles, -singles_max, -singles_max, 'WITHSCORES')[2] or '0')
      boards[#boards + 1] = board
    end
    boards_known[which] = boards
  end
  return boards
end
