-- append_event: gives the event the room's next seq, adds it to the history and tells every node.
-- Without a broadcast, the history is kept for `kept_s` of the room after its last event.
-- The payload on the channel is "<epoch> <seq> <at_ms> <body>". `keep` limits the length of the history.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function append_event(meta, events, live, keep, body)
  local about = redis.call('HMGET', meta, 'epoch', 'kept_s')
  local seq = string.format('%d', redis.call('HINCRBY', meta, 'seq', 1))
  local at_ms = string.format('%d', now_ms())
  redis.call('XADD', events, 'MAXLEN', '~', keep, seq .. '-1', 'a', at_ms, 'b', body)
  if about[2] then
    redis.call('EXPIRE', events, about[2])
  end
  redis.call('PUBLISH', live, about[1] .. ' ' .. seq .. ' ' .. at_ms .. ' ' .. body)
  return seq
end
