-- Forgets the thanks of the broadcast before. Its gifts have earlier seqs than `thanks_from`.
-- KEYS meta thanked
-- ARGV -
redis.call('DEL', thanked)
redis.call('HSET', meta, 'thanks_from', redis.call('HGET', meta, 'seq') or '0')
