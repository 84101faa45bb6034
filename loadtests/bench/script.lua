-- wrk's script: sends the bodies of a file in turn and prints one line of JSON at the end.
-- The file: a line with their number, then for each a line with its size and the bytes themselves.
local requests, at = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for index = 1, tonumber(file:read("*l")) do
    local size = tonumber(file:read("*l"))
    requests[index] = wrk.format("POST", nil, nil, file:read(size))
  end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"duration_us":%d,"p50_us":%.0f,"p99_us":%.0f,"max_us":%.0f,'
      .. '"non_2xx":%d,"broken":%d,"late":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
