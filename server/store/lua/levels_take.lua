-- Takes some whose level is to be looked at, so that no other node does for `lease_ms`.
-- KEYS meta level_due level_gifts
-- ARGV lease_ms most
-- INCLUDE clock
-- Returns {ok, user, note, user, note, ...} | {no_room}
-- A time beyond the lease is from before the store's clock was set back.
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
local now, lease = clock_ms(), tonumber(lease_ms)
local found = redis.call('ZRANGEBYSCORE', level_due, '-inf', now, 'LIMIT', 0, most)
if #found == 0 then
  found = redis.call('ZRANGEBYSCORE', level_due, string.format('(%d', now + lease), '+inf', 'LIMIT', 0, most)
end
local taken = {'ok'}
for _, user_id in ipairs(found) do
  taken[#taken + 1] = user_id
  taken[#taken + 1] = redis.call('HGET', level_gifts, user_id) or '- '
  redis.call('ZADD', level_due, string.format('%d', now + lease), user_id)
end
return taken
