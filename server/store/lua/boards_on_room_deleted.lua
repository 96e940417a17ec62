-- Deletes the boards that do not expire.
-- KEYS tally
-- ARGV -
for _, window in ipairs({'broadcast:single', 'all:sum', 'all:single'}) do
  redis.call('DEL', tally .. ':' .. window)
end
