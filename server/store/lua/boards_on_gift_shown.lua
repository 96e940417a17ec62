-- Counts a gift on the boards of its day and week and of all time, and as a single one. Nobody anonymous is there.
-- KEYS tally tally_names
-- ARGV singles_max day_s week_s all_s
-- INCLUDE boards_windows boards_counting
if user_id ~= '' then
  local id = string.match(once, '[^:]*$')
  redis.call('HSET', tally_names, user_id, user_name)
  local trims = string.sub(id, -1) == '0'  -- one gift in 16
  for _, board in ipairs(boards_counting(tally, singles_max, id, of_now, day_s, week_s, all_s)) do
    if tonumber(coins) >= board.least then
      redis.call('ZADD', board.singles, coins, id .. ' ' .. user_id)
    end
    if board.sums and redis.call('ZINCRBY', board.sums, coins, user_id) == coins then
      redis.call('EXPIRE', board.sums, board.kept_s)  -- with the first gift of each person
      redis.call('EXPIRE', board.singles, board.kept_s)
      redis.call('EXPIRE', tally_names, all_s)
    elseif board.fresh and not board.sums then
      redis.call('EXPIRE', board.singles, board.kept_s)
      board.fresh = false
    end
    if trims then
      redis.call('ZREMRANGEBYRANK', board.singles, 0, -tonumber(singles_max) - 1)
    end
  end
end
