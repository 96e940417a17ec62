-- Lowers the goals of coins and of this gift, those that are reached, too; they stay reached.
-- KEYS state goals goal_moved goal_givers goal_names
-- ARGV -
-- INCLUDE goals_move
if redis.call('HLEN', goals) > 1 then
  local gift, count = string.match(body, '"gift":{"id":"([^"]*)"'), string.match(body, '"count":(%d+)')
  for kind, less in pairs({coins = tonumber(coins), gift = tonumber(count or '0')}) do
    local _, touched = goals_move(goals, state, goal_moved, kind, gift, -less, 0)
    for _, id in ipairs(touched) do
      if user_id ~= '' and tonumber(redis.call('ZINCRBY', goal_givers .. ':' .. id, -less, user_id)) <= 0 then
        redis.call('ZREM', goal_givers .. ':' .. id, user_id)
      end
    end
  end
end
