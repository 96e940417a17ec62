-- fill: puts JSON into the placeholders of an event that Python encoded (see `hole` in scripts.py).
local function fill(text, values)
  return (string.gsub(text, '\1(%l[%l_]*)\1', values))
end
