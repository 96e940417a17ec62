-- integer: a counter's value that HINCRBY and INCRBY accept. A corrupt one raises before anything is written.
local function integer(text, key)
  if text and not (text == '0' or (string.find(text, '^[1-9]%d*$') and #text <= 15)) then
    error('not a whole number: ' .. key)
  end
  return tonumber(text or '0')
end
