-- Takes a part of a gift off the boards of the day and week in which it was given, whenever that was.
-- KEYS tally tally_whole
-- ARGV -
-- INCLUDE boards_windows
-- While the boards are filled, what is taken back may be there before the gift.
if user_id ~= '' then
  local id = string.match(body, '"gift_id":"([^"]*)"') or ''
  local filling = string.sub(redis.call('GET', tally_whole) or '', 1, 1) == '~'
  for window in pairs(boards_windows(id, of_now, 0, 0, 0)) do
    for by, member in pairs({sum = user_id, single = id .. ' ' .. user_id}) do
      local one = tally .. ':' .. window .. ':' .. by
      local score = redis.call('ZSCORE', one, member)
      if score or (filling and window ~= 'broadcast') then
        if tonumber(redis.call('ZINCRBY', one, -tonumber(coins), member)) <= 0 and not filling then
          redis.call('ZREM', one, member)
        end
      end
    end
  end
end
