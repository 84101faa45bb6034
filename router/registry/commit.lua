-- One change of the control state: all of it or nothing.
-- KEYS: 1 revision, 2 changes, 3 routers, 4 hint channel, then those the plan refers to by index.
-- ARGV: 1 plan (JSON), then opaque strings the plan refers to by index.
-- plan: {revision, floor, model, checks: [[key, field, value|0]...], ops: [[command, key, value...]...]}
--   revision 0 takes the next one; otherwise it must still lie above all that was ever used: what is stored,
--   what any router has seen, and `floor`, what the sender has seen.
--   a check wants HGET key field to equal the value (index 0: to be absent).
-- Answers {"ok", revision}, {"revision", highest} or {"check", number of the failed check, what stands there}.
local plan = cjson.decode(ARGV[1])
local top = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), plan.floor)
for _, lease in ipairs(redis.call('HVALS', KEYS[3])) do
  local highest = tonumber(cjson.decode(lease).highest) or 0
  if highest > top then top = highest end
end
local revision = plan.revision
if revision == 0 then revision = top + 1 end
if revision <= top then return {'revision', string.format('%d', top)} end
for number, check in ipairs(plan.checks) do
  local have = redis.call('HGET', KEYS[check[1]], ARGV[check[2]])
  local want = false
  if check[3] ~= 0 then want = ARGV[check[3]] end
  if have ~= want then return {'check', string.format('%d', number), have or ''} end
end
for _, op in ipairs(plan.ops) do
  local call = {op[1], KEYS[op[2]]}
  for i = 3, #op do call[i] = ARGV[op[i]] end
  redis.call(unpack(call))
end
local text = string.format('%d', revision)
redis.call('SET', KEYS[1], text)
redis.call('ZADD', KEYS[2], text, plan.model)
redis.call('PUBLISH', KEYS[4], text)
return {'ok', text}
