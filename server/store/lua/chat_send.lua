-- Appends chat messages, unless their senders are too fast or repeat a message; exact across all nodes.
-- KEYS meta events live people
-- ARGV keep own_max own_s
-- EACH talk own / slow_ms unique_ms per_s user_id text_hash body
-- INCLUDE append_event barred since_ms
-- Returns per message {ok, seq} | {muted, wait_ms} | {warned, 0} | {banned, 0} | {slow_mode, wait_ms} | {duplicate_text, wait_ms} |
--   {hidden, seq} | {shadowed, seq} | {room_not_live} | {failed, error} | {no_room}
-- What staff decided about the sender counts as of now, whatever the sender's node knows. `wait_ms` of {muted} is 0
-- without an end. A hidden person's message has no seq: it goes to the nodes as "<epoch> 0 shadow <user_id> <message>",
-- and into the list of their own of this broadcast, `<broadcast> <message>`.
-- `per_s` is the room's budget of chat (0 exempts this sender). A message over the budget is hidden from every viewer
-- alike, so that frames stay shared and a resume is complete. {failed} is of what the store has of one sender alone.
local held = redis.call('HMGET', meta, 'seq', 'chat_left', 'chat_at', 'broadcast', 'epoch', 'status')
if not held[1] then
  return {{'no_room'}}
end
local now, left, bodies, results = now_ms(), nil, {}, {}

local function wait_of(talk, slow, unique, text_hash)
  local last = redis.call('HMGET', talk, 'at', 'text')
  local since = since_ms(now, last[1])
  if since < slow then
    return {'slow_mode', string.format('%d', slow - since)}
  end
  if since < unique and last[2] == text_hash then
    return {'duplicate_text', string.format('%d', unique - since)}
  end
  redis.call('HSET', talk, 'at', string.format('%d', now), 'text', text_hash)
  redis.call('PEXPIRE', talk, math.max(slow, unique))
end

local function is_over(budget)
  local grown = left and 0 or since_ms(now, held[3]) * budget / 1000
  local there = math.min(budget, (left or tonumber(held[2]) or budget) + grown)
  if there < 1 then
    return true
  end
  left = there - 1
end

local function outcome_of(talk, own, slow_ms, unique_ms, per_s, user_id, text_hash, body)
  if held[6] ~= 'live' and held[6] ~= 'paused' then
    return {'room_not_live'}
  end
  local why, wait_ms
  if per_s ~= '0' then  -- else the sender is staff, whom nothing that is decided binds
    why, wait_ms = barred(people, user_id, held[4], now)
  end
  if why and why ~= 'hidden' then
    return {why, wait_ms}
  end
  local slow, unique, budget = tonumber(slow_ms), tonumber(unique_ms), tonumber(per_s)
  local refused = (slow > 0 or unique > 0) and wait_of(talk, slow, unique, text_hash)
  if refused then
    return refused
  end
  if budget > 0 and is_over(budget) then
    return {'hidden', #bodies}  -- how many of this call come before it; the seq follows below
  end
  if why == 'hidden' then
    local at_ms = string.format('%d', now)
    local message = '{"at_ms":' .. at_ms .. ',' .. string.sub(body, 2)
    redis.call('PUBLISH', live, held[5] .. ' 0 shadow ' .. user_id .. ' ' .. message)
    redis.call('RPUSH', own, (held[4] or '') .. ' ' .. message)
    redis.call('LTRIM', own, -own_max, -1)
    redis.call('EXPIRE', own, own_s)
    return {'shadowed', #bodies}
  end
  bodies[#bodies + 1] = body
  return {'ok', #bodies}
end

for i = 1, items do
  local talk, own = keys_of(i)
  local fine, found = pcall(outcome_of, talk, own, args_of(i))
  results[i] = fine and found or {'failed', type(found) == 'table' and found.err or tostring(found)}
end
if left then
  redis.call('HSET', meta, 'chat_left', string.format('%.3f', left), 'chat_at', string.format('%d', now))
end
local before = tonumber(held[1])
if #bodies > 0 then
  redis.call('HINCRBY', meta, 'chats', #bodies)
  before = append_events(meta, events, live, keep, bodies) - 1
end
for _, result in ipairs(results) do
  if type(result[2]) == 'number' then
    result[2] = string.format('%d', before + result[2])
  end
end
return results
