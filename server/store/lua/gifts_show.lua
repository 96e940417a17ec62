-- Shows paid gifts in their room, each only once: board, total, streak and event change together.
-- KEYS meta events live board names state
-- ARGV keep once_s gap_ms combos_max
-- EACH once / broadcast user_id user_name coins combo_field combo_head combo_count body
-- INCLUDE append_event
-- HOOK gift_shown user_id user_name coins body of_now once
-- Returns per gift {ok, seq} | {seen, seq} | {other_broadcast, the current one} | {no_room}
-- A gift counts only in its own broadcast, also after its end. When another has begun, the gift is marked as seen at 0.
-- Hooks count it then, too, as what is longer than a broadcast has it: `of_now` is false. `once` ends with its id.
-- An anonymous gift has an empty `user_id`: it counts in the total, and stands on no board.
-- Its once-key is `-` from when it counts until its event is there. If a command fails between, a retry only shows it.
local there = redis.call('EXISTS', meta) == 1
local current = redis.call('HGET', meta, 'broadcast') or ''

local function run_combo(field, head, coins, combo_count)
  -- Stored as "<ends_at_ms> <coins> <count> <head>". `head` is the part of the combo_ended JSON before its numbers.
  local open = redis.call('HGET', state, field)
  local paid, count = tonumber(coins), tonumber(combo_count)
  if open then
    local _, before, so_far = string.match(open, '^(%d+) (%d+) (%d+) ')
    paid = paid + tonumber(before)
    count = math.max(count, tonumber(so_far))  -- gifts of one streak may be shown out of order
  end
  if open or redis.call('HLEN', state) < tonumber(combos_max) then
    redis.call('HSET', state, field, string.format('%d %d %d ', now_ms() + tonumber(gap_ms), paid, count) .. head)
  end
end

local function count(once, user_id, user_name, coins, combo_field, combo_head, combo_count, body)
  redis.call('SET', once, '-', 'EX', once_s)
  if user_id ~= '' then
    redis.call('ZINCRBY', board, coins, user_id)
    redis.call('HSET', names, user_id, user_name)
  end
  redis.call('HINCRBY', meta, 'coins', coins)
  if combo_field ~= '' then
    run_combo(combo_field, combo_head, coins, combo_count)
  end
end

local function show(once, broadcast, user_id, user_name, coins, combo_field, combo_head, combo_count, body)
  local shown = redis.call('GET', once)
  if shown and shown ~= '-' then
    return {'seen', shown}
  end
  if not there then
    return {'no_room'}
  end
  local of_now = broadcast == current
  if not shown then
    gift_shown(user_id, user_name, coins, body, of_now, once)
  end
  if not of_now then
    redis.call('SET', once, '0', 'EX', once_s)
    return {'other_broadcast', current}
  end
  if not shown then
    count(once, user_id, user_name, coins, combo_field, combo_head, combo_count, body)
  end
  local seq = append_event(meta, events, live, keep, body)
  redis.call('SET', once, seq, 'EX', once_s)
  return {'ok', seq}
end

local results = {}
for i = 1, items do
  results[i] = show(keys_of(i), args_of(i))
end
return results
