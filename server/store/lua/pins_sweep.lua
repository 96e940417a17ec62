-- Takes off the pins whose time is over, and those of these ids and people. The first node that calls does it.
-- KEYS meta events live state
-- ARGV keep ids user_ids ended_id event
-- INCLUDE append_event fill
-- Returns {removed, timed}: how many it took off, and how many still have a time
-- `ids` and `user_ids` are JSON objects whose names count.
local now, removed, timed = now_ms(), 0, 0
local gone, people = cjson.decode(ids), cjson.decode(user_ids)
local all = redis.call('HGETALL', state)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 4) == 'pin:' then
    local pin = cjson.decode(all[i + 1])
    local has_end = pin.until_ms ~= cjson.null
    local author = type(pin.event.user) == 'table' and pin.event.user.user_id
    if gone[pin.id] or (author and people[author]) or (has_end and pin.until_ms <= now) then
      redis.call('HDEL', state, all[i])
      removed = removed + 1
      append_event(meta, events, live, keep, fill(event, {id = '"' .. ended_id .. '-' .. removed .. '"',
        pin = '"' .. pin.id .. '"'}))
    elseif has_end then
      timed = timed + 1
    end
  end
end
return {removed, timed}
