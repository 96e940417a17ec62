-- Takes parts of gifts back in their room, each only once: board, total and event change together.
-- KEYS meta events live board names
-- ARGV keep once_s
-- EACH once / broadcast user_id coins body
-- INCLUDE append_event
-- HOOK gift_refunded user_id coins body of_now
-- Returns per part {ok, seq} | {seen, seq} | {other_broadcast, the current one} | {no_room}
-- `user_id` is empty for an anonymous gift, which stood on no board.
-- A part counts only in its gift's broadcast, as the gift did; hooks count it later, too, with `of_now` false.
-- Nothing falls below 0: the room store may have lost gifts.
local there = redis.call('EXISTS', meta) == 1
local current = redis.call('HGET', meta, 'broadcast') or ''

local function lower(user_id, coins)
  local total = tonumber(redis.call('HGET', meta, 'coins') or '0')
  redis.call('HSET', meta, 'coins', string.format('%d', math.max(0, total - coins)), 'board_coins', '-1')  -- publish it
  if user_id == '' then
    return
  end
  local left = tonumber(redis.call('ZSCORE', board, user_id) or '0') - coins
  if left > 0 then
    redis.call('ZADD', board, string.format('%d', left), user_id)
  else
    redis.call('ZREM', board, user_id)
    redis.call('HDEL', names, user_id)
  end
end

local function count(once, user_id, coins, body)
  -- Until the event is there: if a command fails between, a retry must not take the part back again.
  redis.call('SET', once, '-', 'EX', once_s)
  lower(user_id, tonumber(coins))
end

local function take_back(once, broadcast, user_id, coins, body)
  local shown = redis.call('GET', once)
  if shown and shown ~= '-' then
    return {'seen', shown}
  end
  if not there then
    return {'no_room'}
  end
  local of_now = broadcast == current
  if not shown then
    gift_refunded(user_id, coins, body, of_now)
  end
  if not of_now then
    redis.call('SET', once, '0', 'EX', once_s)
    return {'other_broadcast', current}
  end
  if not shown then
    count(once, user_id, coins, body)
  end
  local seq = append_event(meta, events, live, keep, body)
  redis.call('SET', once, seq, 'EX', once_s)
  return {'ok', seq}
end

local results = {}
for i = 1, items do
  results[i] = take_back(keys_of(i), args_of(i))
end
return results
