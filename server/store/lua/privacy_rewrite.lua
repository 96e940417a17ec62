-- Rewrites what a room keeps of somebody: fields of its hashes and events, each only if it is as it was read.
-- KEYS meta events names tally_names goal_names own
-- ARGV user_id
-- EACH key / field before after
-- Returns {ok} | {no_room}
-- Of an event, the field is its id in the stream. A stream cannot be changed, so it is written again as a whole.
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
for _, shown in ipairs({names, tally_names, goal_names}) do
  if redis.call('HEXISTS', shown, user_id) == 1 then
    redis.call('HSET', shown, user_id, user_id)
  end
end
redis.call('DEL', own)
local changed, some = {}, false
for i = 1, items do
  local key, field, before, after = (keys_of(i)), args_of(i)
  if key == events then
    changed[field] = {before, after}
    some = true
  elseif redis.call('HGET', key, field) == before then
    redis.call('HSET', key, field, after)
  end
end
if some then
  local left_ms, rows = redis.call('PTTL', events), redis.call('XRANGE', events, '-', '+')
  redis.call('DEL', events)
  for _, row in ipairs(rows) do
    local at_ms, body, new = row[2][2], row[2][4], changed[row[1]]
    if new and new[1] == body then
      body = new[2]
    end
    redis.call('XADD', events, row[1], 'a', at_ms, 'b', body)
  end
  if left_ms > 0 then
    redis.call('PEXPIRE', events, left_ms)
  end
end
return {'ok'}
