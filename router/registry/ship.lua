-- One block behind the one it follows, or nothing: a Redis that lost the last blocks must get them first.
-- KEYS: 1 stream.  ARGV: id of the entry that must be the last ('': none), id, then fields and values.
-- Answers 1, or 0 where another entry is the last one.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local id = ''
if last[1] then id = last[1][1] end
if id ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[1], unpack(ARGV, 2))
return 1
