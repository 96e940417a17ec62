-- Deletes each node's set of viewers, which a room of the same name would count again.
-- KEYS nodes node
-- ARGV -
for _, node_id in ipairs(redis.call('ZRANGE', nodes, 0, -1)) do
  redis.call('DEL', node .. ':' .. node_id)
end
