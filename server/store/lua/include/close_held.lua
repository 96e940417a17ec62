-- close_held: takes a message out of the held ones, and tells staff and its sender what became of it.
-- The room store remembers `most` of these decisions for `kept_s`; above that it forgets them all. Nodes get one as
-- "<epoch> 0 resolved <user_id> <message>".
local function close_held(held, decided, live, epoch, id, user_id, resolved, most, kept_s)
  redis.call('HDEL', held, id)
  if redis.call('HLEN', decided) >= tonumber(most) then
    redis.call('DEL', decided)
  end
  redis.call('HSET', decided, id, resolved)
  redis.call('EXPIRE', decided, kept_s)
  redis.call('PUBLISH', live, epoch .. ' 0 resolved ' .. user_id .. ' ' .. resolved)
end
