-- Counts a gift on the boards of its day and week and of all time, and as a single one. Nobody anonymous is there.
-- KEYS tally tally_names
-- ARGV singles_max day_s week_s all_s
-- INCLUDE boards_windows
if user_id ~= '' then
  local id = string.match(once, '[^:]*$')
  redis.call('HSET', tally_names, user_id, user_name)
  local trims = string.sub(id, -1) == '0'  -- one gift in 16
  for window, kept_s in pairs(boards_windows(id, of_now, day_s, week_s, all_s)) do
    local sums, singles = tally .. ':' .. window .. ':sum', tally .. ':' .. window .. ':single'
    redis.call('ZADD', singles, coins, id .. ' ' .. user_id)
    if window ~= 'broadcast' and redis.call('ZINCRBY', sums, coins, user_id) == coins then
      redis.call('EXPIRE', sums, kept_s)  -- with the first gift of each person
      redis.call('EXPIRE', singles, kept_s)
      redis.call('EXPIRE', tally_names, all_s)
    end
    if window == 'broadcast' then
      redis.call('EXPIRE', singles, kept_s)
    end
    if trims then
      redis.call('ZREMRANGEBYRANK', singles, 0, -tonumber(singles_max) - 1)
    end
  end
end
