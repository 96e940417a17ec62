-- Takes or renews the lease of a partition: only its holder puts back what the store has lost.
-- KEYS lease
-- ARGV token lease_ms
-- INCLUDE take_lease
-- Returns 1, or 0 while another node holds it
return take_lease(lease, token, lease_ms) and 1 or 0
