-- Holds a message until staff has decided. It may take the place of its sender's earlier one.
-- KEYS meta live held people decided
-- ARGV id user_id message event most most_of_one edit_of edited kept most_decided
-- INCLUDE barred clock close_held
-- Returns {held, seq} | {full} | {muted, wait_ms} | {warned} | {banned} | {hidden} | {gone} | {no_room}
-- `edited` is what staff and sender get the earlier one; {gone} if it is held no longer. Staff gets the new one
-- as "<epoch> 0 held <message>". A hidden person's message is held by nobody: staff is not to show it.
local about = redis.call('HMGET', meta, 'epoch', 'seq', 'broadcast')
if not about[1] then
  return {'no_room'}
end
local why, wait_ms = barred(people, user_id, about[3], clock_ms())
if why then
  return {why, wait_ms}
end
if edit_of ~= '' then
  if redis.call('HEXISTS', held, edit_of) == 0 then
    return {'gone'}
  end
  close_held(held, decided, live, about[1], edit_of, user_id, edited, most_decided, kept)
end
local mine, all = 0, redis.call('HVALS', held)
for _, each in ipairs(all) do
  if cjson.decode(string.match(each, '^[^\n]*')).user.user_id == user_id then
    mine = mine + 1
  end
end
if #all >= tonumber(most) or mine >= tonumber(most_of_one) then
  return {'full'}
end
redis.call('HSET', held, id, message .. '\n' .. event)
redis.call('PUBLISH', live, about[1] .. ' 0 held ' .. message)
return {'held', about[2]}
