-- Moves the goals of coins and of this gift.
-- KEYS meta events live state goals goal_moved goal_givers goal_names people
-- ARGV keep event row givers_s
-- INCLUDE append_event fill goals_move
if redis.call('HLEN', goals) > 1 then
  local gift, count = string.match(body, '"gift":{"id":"([^"]*)"'), string.match(body, '"count":(%d+)')
  for kind, added in pairs({coins = tonumber(coins), gift = tonumber(count)}) do
    local reached, touched = goals_move(goals, state, goal_moved, kind, gift, added, 0)
    for _, id in ipairs(touched) do
      if user_id ~= '' then
        redis.call('ZINCRBY', goal_givers .. ':' .. id, added, user_id)
        redis.call('EXPIRE', goal_givers .. ':' .. id, givers_s)
        redis.call('HSET', goal_names, user_id, user_name)
      end
    end
    for _, id in ipairs(reached) do
      goals_tell_reached(meta, events, live, keep, goal_givers, goal_names, people, id, event, row)
    end
  end
end
