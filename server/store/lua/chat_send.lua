-- Appends a chat message, unless the sender is too fast or repeats a message; exact across all nodes.
-- KEYS meta events live talk people
-- ARGV keep slow_ms unique_ms per_s user_id text_hash body
-- INCLUDE append_event since_ms
-- Returns {ok, seq} | {muted, wait_ms} | {warned} | {slow_mode, wait_ms} | {duplicate_text, wait_ms} | {hidden, seq} |
--   {shadowed, seq} | {no_room}
-- What staff decided about the sender counts as of now, whatever the sender's node knows. `wait_ms` of {muted} is 0
-- without an end. A hidden person's message has no seq: it goes to the nodes as "<epoch> 0 shadow <user_id> <message>".
-- `per_s` is the room's budget of chat (0 exempts this sender). A message over the budget is hidden from every viewer
-- alike, so that frames stay shared and a resume is complete.
local held = redis.call('HMGET', meta, 'seq', 'chat_left', 'chat_at', 'broadcast', 'epoch')
if not held[1] then
  return {'no_room'}
end
local decided = redis.call('HGET', people, user_id)
local standing = decided and cjson.decode(string.match(decided, '^%d+ (.*)$')) or {}
local until_ms = standing.muted_until_ms or 0
if (not standing.muted_in or standing.muted_in == held[4]) and until_ms > now_ms() then
  return {'muted', until_ms >= 9007199254740991 and '0' or string.format('%d', until_ms - now_ms())}
end
if standing.warned then
  return {'warned'}
end
local slow, unique, budget, now = tonumber(slow_ms), tonumber(unique_ms), tonumber(per_s), now_ms()
if slow > 0 or unique > 0 then
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
if budget > 0 then
  local grown = since_ms(now, held[3]) * budget / 1000
  local left = math.min(budget, (tonumber(held[2]) or budget) + grown)
  if left < 1 then
    return {'hidden', held[1]}
  end
  redis.call('HSET', meta, 'chat_left', string.format('%.3f', left - 1), 'chat_at', string.format('%d', now))
end
if standing.hidden then
  local at_ms = string.format('%d', now)
  redis.call('PUBLISH', live, held[5] .. ' 0 shadow ' .. user_id .. ' {"at_ms":' .. at_ms .. ',' .. string.sub(body, 2))
  return {'shadowed', held[1]}
end
return {'ok', append_event(meta, events, live, keep, body)}
