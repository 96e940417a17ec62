-- Notes whose level may be lower now: the journal has the reversal already.
-- KEYS level_due level_gifts
-- ARGV -
-- INCLUDE append_event
if user_id ~= '' then
  redis.call('HSETNX', level_gifts, user_id, '- ')
  redis.call('ZADD', level_due, 'NX', string.format('%d', now_ms()), user_id)
end
