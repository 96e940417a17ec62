-- Shows a paid gift in its room once: board, total, streak and event move together.
-- KEYS meta events live once board names state
-- ARGV keep once_s user_id user_name coins combo_field combo_head combo_count gap_ms combos_max body
-- INCLUDE append_event
-- Returns {ok, seq} | {seen, seq} | {no_room}
local shown = redis.call('GET', once)
if shown then
  return {'seen', shown}
end
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
redis.call('ZINCRBY', board, coins, user_id)
redis.call('HSET', names, user_id, user_name)
redis.call('HINCRBY', meta, 'coins', coins)
if combo_field ~= '' then
  -- "<ends_at_ms> <coins> <count> <head>": head is the JSON of combo_ended up to its numbers
  local open = redis.call('HGET', state, combo_field)
  local paid, count = tonumber(coins), tonumber(combo_count)
  if open then
    local _, before, so_far = string.match(open, '^(%d+) (%d+) (%d+) ')
    paid = paid + tonumber(before)
    count = math.max(count, tonumber(so_far))  -- gifts of one streak may be shown out of order
  end
  if open or redis.call('HLEN', state) < tonumber(combos_max) then
    redis.call('HSET', state, combo_field, string.format('%d %d %d ', now_ms() + tonumber(gap_ms), paid, count)
      .. combo_head)
  end
end
local seq = append_event(meta, events, live, keep, body)
redis.call('SET', once, seq, 'EX', once_s)
return {'ok', seq}
