-- Ends the streaks whose time is over. Each leaves the state and is published once, by the first node that calls.
-- KEYS meta events live state
-- ARGV keep gap_ms ended_id event
-- INCLUDE append_event fill
-- Returns {open}: how many streaks still run
-- One that ends later than `gap_ms` from now is from before the store's clock was set back.
local now, ended, open = now_ms(), 0, 0
local all = redis.call('HGETALL', state)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 6) == 'combo:' then
    local ends, paid, count, head = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (.*)$')
    if tonumber(ends) <= now or tonumber(ends) > now + tonumber(gap_ms) then
      redis.call('HDEL', state, all[i])
      ended = ended + 1
      local combo = string.match(all[i], ':([^:]*)$')
      append_event(meta, events, live, keep, fill(event, {id = '"' .. ended_id .. '-' .. ended .. '"',
        combo = '"' .. combo .. '"', count = count, coins = paid, head = string.sub(head, 1, -2)}))
    else
      open = open + 1
    end
  end
end
return {open}
