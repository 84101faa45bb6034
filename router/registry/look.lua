-- Several reads as one picture; a MULTI that a Redis Cluster's client can send too.
-- KEYS: those the plan refers to by index.  ARGV: 1 plan (JSON): [[command, key (0: none), argument...]...]
-- Answers the replies in the order of the plan.
local out = {}
for number, read in ipairs(cjson.decode(ARGV[1])) do
  if read[2] == 0 then table.remove(read, 2) else read[2] = KEYS[read[2]] end
  out[number] = redis.call(unpack(read))
end
return out
