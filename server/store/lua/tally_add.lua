-- Adds what was given before tally_begin. The last call says `whole`, and takes off what has nothing left.
-- KEYS meta tally_names tally_whole
-- ARGV epoch token whole singles_max kept_s marked_s
-- EACH board_key / member amount user_id name expires_s
-- Returns {ok} | {other_token} | {no_room}
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
if redis.call('GET', tally_whole) ~= '~' .. token then
  return {'other_token'}
end
for i = 1, items do
  local board_key = keys_of(i)
  local member, amount, user_id, name, expires_s = args_of(i)
  if amount ~= '0' then
    redis.call('ZINCRBY', board_key, amount, member)
  end
  if name ~= '' then
    redis.call('HSETNX', tally_names, user_id, name)
  end
  if whole == '1' then
    redis.call('ZREMRANGEBYSCORE', board_key, '-inf', 0)
    if string.sub(board_key, -7) == ':single' then
      redis.call('ZREMRANGEBYRANK', board_key, 0, -tonumber(singles_max) - 1)
    end
    redis.call('EXPIRE', board_key, expires_s)
  end
end
if whole == '1' then
  redis.call('EXPIRE', tally_names, kept_s)
  redis.call('SET', tally_whole, epoch, 'EX', marked_s)
end
return {'ok'}
