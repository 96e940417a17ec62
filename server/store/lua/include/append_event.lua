-- append_event: gives the event the room's next seq, adds it to the history and tells every node.
-- The payload on the channel is "<epoch> <seq> <at_ms> <body>". `keep` limits the length of the history.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function append_event(meta, events, live, keep, body)
  local epoch = redis.call('HGET', meta, 'epoch')
  local seq = string.format('%d', redis.call('HINCRBY', meta, 'seq', 1))
  local at_ms = string.format('%d', now_ms())
  redis.call('XADD', events, 'MAXLEN', '~', keep, seq .. '-1', 'a', at_ms, 'b', body)
  redis.call('PUBLISH', live, epoch .. ' ' .. seq .. ' ' .. at_ms .. ' ' .. body)
  return seq
end
