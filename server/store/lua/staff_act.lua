-- Tells a room what staff did: a person's new standing, its events, and the message to staff. Once.
-- KEYS meta events live people done
-- ARGV keep done_s user_id version standing event acted
-- INCLUDE append_event
-- HOOK staff_acted event
-- Returns {ok, seq} | {known} | {no_room}
-- `event` has a line for each event; seq is that of the last one. `version` is 0 without a new standing. {known} if the
-- room has heard of it, or of what came after it.
-- What is not an event goes to the nodes with the seq 0: "<epoch> 0 person <user_id> <version> <standing>", and
-- "<epoch> 0 staff <message>".
local about = redis.call('HMGET', meta, 'epoch', 'seq')
if not about[1] then
  return {'no_room'}
end
if redis.call('EXISTS', done) == 1 then
  return {'known'}
end
if version ~= '0' then
  local held = redis.call('HGET', people, user_id)
  if held and tonumber(string.match(held, '^%d+')) >= tonumber(version) then
    return {'known'}
  end
  redis.call('HSET', people, user_id, version .. ' ' .. standing)
  redis.call('PUBLISH', live, about[1] .. ' 0 person ' .. user_id .. ' ' .. version .. ' ' .. standing)
end
local seq = about[2]
for line in string.gmatch(event, '[^\n]+') do
  seq = append_event(meta, events, live, keep, line)
end
staff_acted(event)
redis.call('PUBLISH', live, about[1] .. ' 0 staff ' .. acted)
redis.call('SET', done, '1', 'EX', done_s)
return {'ok', seq}
