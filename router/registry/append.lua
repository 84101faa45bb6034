-- An entry behind a chain that still ends where its writer saw it end; changes nothing else.
-- KEYS: 1 heads, 2 the chain, 3 signed heads.  ARGV: chain, its present head ('': none), entry, new head, its
-- signature ('': none).
-- Answers 1, or 0 where the chain ends elsewhere by now.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[1], ARGV[5]) end
return 1
