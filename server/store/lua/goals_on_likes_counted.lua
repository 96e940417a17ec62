-- Moves the goals of likes.
-- KEYS meta events live state goals goal_moved goal_givers goal_names people
-- ARGV keep event row
-- INCLUDE append_event fill goals_move
if redis.call('HLEN', goals) > 1 then
  for _, id in ipairs((goals_move(goals, state, goal_moved, 'likes', '', added, 0))) do
    goals_tell_reached(meta, events, live, keep, goal_givers, goal_names, people, id, event, row)
  end
end
