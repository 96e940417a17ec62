-- integer: a counter's value as HINCRBY and INCRBY take it; a spoilt one raises before anything is written.
local function integer(text, key)
  if text and not (text == '0' or (string.find(text, '^[1-9]%d*$') and #text <= 15)) then
    error('not a whole number: ' .. key)
  end
  return tonumber(text or '0')
end
