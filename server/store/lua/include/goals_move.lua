-- goals_move: moves the goals of a kind, tells who reached one, and keeps what the snapshot needs.
-- A goal is "<target> <current> <reached 0 or 1> <kind> <gift or -> <created_ms> <JSON up to its title>".
-- Hidden people are not among the contributors. `event` is goals.reached with the holes id and contributors; `row` is one contributor.
local function goals_json(value)
  local target, current, reached, head = string.match(value, '^(%d+) (%d+) (%d) %S+ %S+ %d+ (.*)$')
  return head .. ',"target":' .. target .. ',"current":' .. current .. ',"reached":'
    .. (reached == '1' and 'true' or 'false') .. '}'
end

local function goals_tell_reached(meta, events, live, keep, givers, goal_names, people, id, event, row)
  local contributors = {}
  for _, user_id in ipairs(redis.call('ZREVRANGE', givers .. ':' .. id, 0, 39)) do
    local hidden = string.find(redis.call('HGET', people, user_id) or '', '"hidden":true', 1, true)
    if not hidden and #contributors < 10 then
      local name = redis.call('HGET', goal_names, user_id) or user_id
      contributors[#contributors + 1] = fill(row, {user_id = cjson.encode(user_id), name = cjson.encode(name)})
    end
  end
  append_event(meta, events, live, keep, fill(event, {id = '"' .. id .. '"',
    contributors = '[' .. table.concat(contributors, ',') .. ']'}))
end

-- Sets one goal's numbers; without `state` only there where they are counted. Returns whether it has just been reached.
local function goals_set(goals, state, id, value, current)
  local target, _, reached, rest = string.match(value, '^(%d+) (%d+) (%d) (.*)$')
  local now = reached == '1' or current >= tonumber(target)
  value = string.format('%s %.0f %s %s', target, current, now and '1' or '0', rest)
  redis.call('HSET', goals, id, value)
  if state then
    redis.call('HSET', state, 'goal:' .. id, value)
  end
  return now and reached == '0'
end

-- `added` is what is added, or `least` what the goal has at least. Returns the ids of those that were reached.
local function goals_move(goals, state, moved, kind, gift, added, least)
  local reached, touched = {}, {}
  local all = redis.call('HGETALL', goals)
  local filled = string.sub(redis.call('HGET', goals, '') or '~', 1, 1) ~= '~'
  for i = 1, #all, 2 do
    local current, of, wanted = string.match(all[i + 1], '^%d+ (%d+) %d (%S+) (%S+) ')
    if of == kind and (kind ~= 'gift' or wanted == gift) then
      local now = math.max(0, tonumber(current) + added, least)
      if now ~= tonumber(current) then
        touched[#touched + 1] = all[i]
        redis.call('SADD', moved, all[i])
        if goals_set(goals, filled and state, all[i], all[i + 1], now) then
          reached[#reached + 1] = all[i]
        end
      end
    end
  end
  return reached, touched
end
