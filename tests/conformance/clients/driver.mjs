// One process answers many commands: a JSON line in, a JSON line out, in order, so that a test costs milliseconds.
//
// Command: {url, link, options, headers, calls: [{type, path, input?, abort?}]}; `input` in superjson's form {json, meta},
// absent for undefined. `abort`: "called" aborts in the tick of the call, "answered" once the headers of the answer have come.
// Result: {outcomes: [{value} | {error}], requests: [{method, url, status}]}; `value` again in superjson's form. The calls of
// a command start in one tick, as those of a page that renders do, so that batching links join them. A subscription, type
// "subscribe", comes to the list of its items once it has ended.
import { createInterface } from 'node:readline';
import superjson from 'superjson';

export const describe = (error) => ({
  name: error.name,
  message: error.message,
  cause: error.cause?.name,
  data: error.data,
  shape: error.shape,
});

const itemsOf = (procedure, input) =>
  new Promise((resolve, reject) => {
    const items = [];
    procedure.subscribe(input, { onData: (item) => items.push(item), onComplete: () => resolve(items), onError: reject });
  });

async function run(createClient, { url, link, options, headers, calls }) {
  const requests = [];
  const controllers = calls.map(() => new AbortController());
  const abortAt = (moment) => calls.forEach((call, i) => call.abort === moment && controllers[i].abort());

  // The real fetch, watched.
  const watchedFetch = async (input, init) => {
    const request = { method: init.method ?? 'GET', url: String(input) };
    requests.push(request);
    const response = await fetch(input, init);
    request.status = response.status;
    abortAt('answered');
    return response;
  };

  const client = createClient(link, { ...options, url, headers: () => headers, fetch: watchedFetch });
  const outcomes = calls.map(async ({ type, path, input }, i) => {
    const procedure = path.split('.').reduce((node, name) => node[name], client);
    try {
      const given = input && superjson.deserialize(input);
      const options = { signal: controllers[i].signal };
      const value = await (type === 'subscribe' ? itemsOf(procedure, given) : procedure[type](given, options));
      return { value: superjson.serialize(value) };
    } catch (error) {
      return { error: describe(error) };
    }
  });
  abortAt('called');
  return { outcomes: await Promise.all(outcomes), requests };
}

export async function drive(createClient) {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await run(createClient, JSON.parse(line)))}\n`);
  }
  // A WebSocket of which every call was aborted is not closed by itself.
  process.exit(0);
}
