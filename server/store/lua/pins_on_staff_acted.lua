-- Takes off the pins of messages in the step that deletes them.
-- KEYS meta events live state
-- ARGV keep unpinned
-- INCLUDE append_event fill
if string.find(event, '{"type":"chat.deleted"', 1, true) == 1 then
  local deleted, gone, authors, removed = cjson.decode(event), {}, {}, 0
  for _, id in ipairs(deleted.ids) do
    gone[id] = true
  end
  for _, id in ipairs(deleted.user_ids) do
    authors[id] = true
  end
  local all = redis.call('HGETALL', state)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 4) == 'pin:' then
      local pin = cjson.decode(all[i + 1])
      local author = type(pin.event.user) == 'table' and pin.event.user.user_id
      if gone[pin.id] or (author and authors[author]) then
        redis.call('HDEL', state, all[i])
        removed = removed + 1
        append_event(meta, events, live, keep, fill(unpinned, {id = '"' .. deleted.id .. '-' .. removed .. '"',
          pin = '"' .. pin.id .. '"'}))
      end
    end
  end
end
