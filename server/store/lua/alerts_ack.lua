-- Writes down how far an alert is: the proof that it was played.
-- KEYS meta acks
-- ARGV stage overlay ids keep kept_s
-- Returns {ok} | {no_room}
-- `ids` are gift ids with spaces between them. Only the newest `keep` or so are kept.
if redis.call('EXISTS', meta) == 0 then
  return {'no_room'}
end
redis.call('XADD', acks, 'MAXLEN', '~', keep, '*', 's', stage, 'o', overlay, 'i', ids)
redis.call('EXPIRE', acks, kept_s)
return {'ok'}
