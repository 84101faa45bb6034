-- What changed after a revision, as one consistent picture.
-- KEYS: 1 revision, 2 changes, 3 routes, 4 keys of callers.
-- ARGV: since, limit, prefixes of the replica, desired and version hashes, what stands for the keys of callers
-- among the models.
-- Answers {revision, [model, score, route or '', [replica...], [version, number...],
-- number of versions]...}, with the keys as [what stands for them, score, '', [key...], [], 0];
-- fewer than limit entries: that was all.
local revision = redis.call('GET', KEYS[1]) or '0'
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local out = {revision}
for i = 1, #found, 2 do
  local model = found[i]
  if model == ARGV[6] then
    out[#out + 1] = {model, found[i + 1], '', redis.call('HVALS', KEYS[4]), {}, 0}
  else
    out[#out + 1] = {
      model, found[i + 1],
      redis.call('HGET', KEYS[3], model) or '',
      redis.call('HVALS', ARGV[3] .. model),
      redis.call('HGETALL', ARGV[4] .. model),
      redis.call('HLEN', ARGV[5] .. model),
    }
  end
end
return out
