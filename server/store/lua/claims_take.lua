-- Claims the id of a top-up for one order. The first order keeps it.
-- KEYS claim
-- ARGV fingerprint seconds
-- Returns the fingerprint of the order that has the id
redis.call('SET', claim, fingerprint, 'NX', 'EX', seconds)
return redis.call('GET', claim)
