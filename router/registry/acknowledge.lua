-- A router's lease, stamped with the clock of Redis.
-- KEYS: 1 routers, 2 ack channel.  ARGV: router id, lease JSON without its opening brace, revision.
-- Answers the current time in ms.
local now = redis.call('TIME')
local ms = string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('HSET', KEYS[1], ARGV[1], '{"seen":' .. ms .. ',' .. ARGV[2])
redis.call('PUBLISH', KEYS[2], ARGV[1] .. ' ' .. ARGV[3])
return ms
