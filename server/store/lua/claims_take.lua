-- Claims the id of a top-up for one order. The first order keeps it.
-- KEYS claim
-- ARGV fingerprint
-- Returns the fingerprint of the order that has the id
-- There is no expiry by the store's clock: the journal process deletes the claim when SQL has had the order for long.
redis.call('SET', claim, fingerprint, 'NX')
return redis.call('GET', claim)
