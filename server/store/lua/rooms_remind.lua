-- Reminds a room of its next broadcast, once, unless it has begun or is to begin at another time.
-- KEYS meta events live
-- ARGV keep starts_at_ms due_at_ms event
-- INCLUDE append_event
-- Returns {ok, seq} | {known} | {changed} | {no_room}
-- The field `reminded` is "<starts_at_ms> <due_at_ms>" of the latest reminder.
local about = redis.call('HMGET', meta, 'epoch', 'status', 'details', 'reminded')
if not about[1] then
  return {'no_room'}
end
local details = about[3] and about[3] ~= '' and cjson.decode(about[3]) or {}
local wanted = type(details.starts_at_ms) == 'number' and string.format('%d', details.starts_at_ms)
if wanted ~= starts_at_ms or about[2] == 'live' or about[2] == 'paused' then
  return {'changed'}
end
local of, due = string.match(about[4] or '', '^(%d+) (%d+)$')
if of == starts_at_ms and tonumber(due) >= tonumber(due_at_ms) then
  return {'known'}
end
redis.call('HSET', meta, 'reminded', starts_at_ms .. ' ' .. due_at_ms)
return {'ok', append_event(meta, events, live, keep, event)}
