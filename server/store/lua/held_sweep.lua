-- Closes held messages that nobody decided about in time, and those of these ids and people. The first node does it.
-- KEYS meta live held decided
-- ARGV life_ms ids user_ids expired denied most kept most_decided
-- INCLUDE clock close_held fill
-- Returns {closed, left} | {no_room}
-- `ids` and `user_ids` are JSON objects whose names count. `most` are closed at a time.
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
local closed, gone, people = 0, cjson.decode(ids), cjson.decode(user_ids)
local old_ms = clock_ms() - tonumber(life_ms)
for _, value in ipairs(redis.call('HVALS', held)) do
  local each = cjson.decode(string.match(value, '^[^\n]*'))
  local wanted = gone[each.id] or people[each.user.user_id]
  if closed < tonumber(most) and (wanted or each.held_at_ms <= old_ms) then
    closed = closed + 1
    local said = fill(wanted and denied or expired, {id = '"' .. each.id .. '"'})
    close_held(held, decided, live, epoch, each.id, each.user.user_id, said, most_decided, kept)
  end
end
return {tostring(closed), tostring(redis.call('HLEN', held))}
