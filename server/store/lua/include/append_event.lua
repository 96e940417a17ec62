-- append_event: gives an event the room's next seq, adds it to the history and tells every node. append_events: several.
-- Without a broadcast, the history is kept for `kept_s` of the room after its last event.
-- The payload on the channel is "<epoch> <seq> <at_ms> <body>". Several go together: "<epoch> 0 several <first seq>
-- <at_ms>" and a line for each body. `keep` limits the length of the history.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function append_events(meta, events, live, keep, bodies)
  local about = redis.call('HMGET', meta, 'epoch', 'kept_s')
  local first = redis.call('HINCRBY', meta, 'seq', #bodies) - #bodies + 1
  local at_ms = string.format('%d', now_ms())
  for n, body in ipairs(bodies) do
    redis.call('XADD', events, 'MAXLEN', '~', keep, string.format('%d-1', first + n - 1), 'a', at_ms, 'b', body)
  end
  if about[2] then
    redis.call('EXPIRE', events, about[2])
  end
  local head = about[1] .. (#bodies == 1 and ' ' or ' 0 several ') .. string.format('%d ', first) .. at_ms
  redis.call('PUBLISH', live, head .. (#bodies == 1 and ' ' or '\n') .. table.concat(bodies, '\n'))
  return first
end

local function append_event(meta, events, live, keep, body)
  return string.format('%d', append_events(meta, events, live, keep, {body}))
end
