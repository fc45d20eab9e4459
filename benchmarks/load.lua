-- wrk … -- get PATHS             GET each path of the file in turn, over and over
-- wrk … -- jsonl PATHS           the same, for JSON lines, as httpBatchStreamLink asks
-- wrk … -- upload BODY BOUNDARY  POST the file's bytes as multipart/form-data
-- The last line printed is the result as JSON, for benchmarks/load.py.
local modes = {}

function modes.jsonl(paths)
  wrk.headers["trpc-accept"] = "application/jsonl"
  modes.get(paths)
end

function modes.get(paths)
  local requests, index = {}, 0
  for path in io.lines(paths) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
  function request()
    index = index % #requests + 1
    return requests[index]
  end
end

-- Without a global `request` wrk formats the request once and sends the same bytes each time.
function modes.upload(body, boundary)
  local file = assert(io.open(body, "rb"))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. boundary
  wrk.body = file:read("*a")
  file:close()
end

function init(args)
  modes[args[1]](args[2], args[3])
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,"failed_sockets":%d,"failed_statuses":%d,"timeouts":%d}',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write, errors.status, errors.timeout))
end
