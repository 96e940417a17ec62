-- overtaken: whether an order about a wallet came after one that was recorded later. '0' is an older program's order.
local function overtaken(ordered_ms, held_ms)
  return ordered_ms ~= '0' and held_ms and tonumber(held_ms) > tonumber(ordered_ms)
end
