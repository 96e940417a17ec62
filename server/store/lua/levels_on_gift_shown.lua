-- Notes whose level is to be looked at, with the gift that the journal must have first.
-- KEYS level_due level_gifts
-- ARGV -
-- INCLUDE append_event
if user_id ~= '' then
  redis.call('HSET', level_gifts, user_id, string.match(once, '[^:]*$') .. ' ' .. user_name)
  redis.call('ZADD', level_due, 'NX', string.format('%d', now_ms()), user_id)
end
