-- barred: why somebody may not chat now (`muted`, `warned`, `banned`, `hidden`), and for how long if that is known.
local function barred(people, user_id, broadcast, now)
  local decided = redis.call('HGET', people, user_id)
  local standing = decided and cjson.decode(string.match(decided, '^%d+ (.*)$')) or {}
  local until_ms = standing.muted_until_ms or 0
  if (not standing.muted_in or standing.muted_in == broadcast) and until_ms > now then
    return 'muted', until_ms >= 9007199254740991 and '0' or string.format('%d', until_ms - now)
  end
  if (standing.banned_until_ms or 0) > now then
    return 'banned', '0'
  end
  if standing.warned then
    return 'warned', '0'
  end
  return standing.hidden and 'hidden', '0'
end
