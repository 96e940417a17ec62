-- Tells nodes the levels of people, and the room who has reached one: once.
-- KEYS meta events live people level_due level_gifts
-- ARGV keep once_s again_ms
-- EACH once / user_id note level event
-- INCLUDE append_event
-- Returns {ok} | {no_room}
-- `event` is empty if there is nothing to tell; a hidden person's is shown to nobody. With an empty `level` the journal
-- does not have the gift yet: it is looked at again. A newer gift than that of the `note` stays to be looked at.
-- A level goes to the nodes as "<epoch> 0 level <user_id> <level>".
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  return {'no_room'}
end
for i = 1, items do
  local once, user_id, note, level, event = keys_of(i), args_of(i)
  local same = (redis.call('HGET', level_gifts, user_id) or '- ') == note
  if level == '' then
    redis.call('ZADD', level_due, string.format('%d', now_ms() + again_ms), user_id)
  else
    redis.call('PUBLISH', live, epoch .. ' 0 level ' .. user_id .. ' ' .. level)
    if event ~= '' and redis.call('SET', once, '1', 'NX', 'EX', once_s) then
      if not string.find(redis.call('HGET', people, user_id) or '', '"hidden":true', 1, true) then
        append_event(meta, events, live, keep, event)
      end
    end
    if same then
      redis.call('HDEL', level_gifts, user_id)
      redis.call('ZREM', level_due, user_id)
    else
      redis.call('ZADD', level_due, string.format('%d', now_ms()), user_id)
    end
  end
end
return {'ok'}
