-- fill: puts JSON into the holes of an event that was encoded elsewhere (see `hole` in scripts.py).
local function fill(text, values)
  return (string.gsub(text, '\1(%l[%l_]*)\1', values))
end
