-- Appends a chat message unless the sender is too fast or repeats oneself; exact over all nodes.
-- KEYS meta events live talk
-- ARGV keep slow_ms unique_ms text_hash body
-- INCLUDE append_event
-- Returns {ok, seq} | {slow_mode, wait_ms} | {duplicate_text, wait_ms} | {no_room}
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
local slow, unique = tonumber(slow_ms), tonumber(unique_ms)
if slow > 0 or unique > 0 then
  local now = now_ms()
  local last = redis.call('HMGET', talk, 'at', 'text')
  local since = last[1] and math.max(0, now - tonumber(last[1])) or math.huge
  if since < slow then
    return {'slow_mode', string.format('%d', slow - since)}
  end
  if since < unique and last[2] == text_hash then
    return {'duplicate_text', string.format('%d', unique - since)}
  end
  redis.call('HSET', talk, 'at', string.format('%d', now), 'text', text_hash)
  redis.call('PEXPIRE', talk, math.max(slow, unique))
end
return {'ok', append_event(meta, events, live, keep, body)}
