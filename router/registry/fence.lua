-- A write that changes nothing: once a replica has it, it has the route as it stands here.
-- KEYS: 1 routes, 2 fence.  ARGV: model, the route document that must stand there.
-- Answers 1, or 0 where another route stands there.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
return 1
