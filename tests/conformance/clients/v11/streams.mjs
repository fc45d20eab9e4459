// What lasts: subscriptions, and calls whose answers come piece by piece. JSON lines in and out, many at a time; each has an id.
//
// Commands: {id, op: "subscribe", link, url, headers, params, path, input}, and the same with op "call" and its type;
// {id, op: "stop"} unsubscribes, {id, op: "abort"} aborts the signal. `input` is in superjson's form, absent for undefined.
// Events: {id, event, ...}. Of a subscription: started, data, state, stopped, complete, error. Of a call: item for each that an
// async iterable gives, then value or error; what came later stands in the value as {later}, {rejected}, {items, error?}.
import {
  createTRPCClient, createWSClient, httpBatchStreamLink, httpSubscriptionLink, splitLink, wsLink,
} from '@trpc/client';
import { EventSource } from 'eventsource';
import { createInterface } from 'node:readline';
import superjson from 'superjson';
import { describe } from '../driver.mjs';
import { webSocketUrl, webSocketWith } from '../links.mjs';

// How long clients wait before they connect again; the stock wsLink waits up to 30 s. An EventSource waits its own 3 s.
const RETRY_MS = 50;
const transformer = superjson;
const emit = (id, event, more) => process.stdout.write(`${JSON.stringify({ id, event, ...more })}\n`);

const subscriptionLink = ({ url, headers, params }) =>
  httpSubscriptionLink({
    url,
    transformer,
    EventSource,
    connectionParams: params,
    eventSourceOptions: { fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }) },
  });
const streamLink = ({ url, headers }) => httpBatchStreamLink({ url, transformer, headers });
const links = {
  sse: subscriptionLink,
  stream: streamLink,
  split: (options) =>
    splitLink({ condition: (op) => op.type === 'subscription', true: subscriptionLink(options), false: streamLink(options) }),
  ws: ({ url, headers, params }) => {
    const client = createWSClient({
      url: webSocketUrl(url),
      WebSocket: webSocketWith(headers),
      connectionParams: params,
      retryDelayMs: () => RETRY_MS,
      // Nothing keeps the connection once nothing needs it.
      lazy: { enabled: true, closeMs: 0 },
    });
    return wsLink({ client, transformer });
  },
};

const clients = new Map();
function clientOf({ link, url, headers, params }) {
  const key = JSON.stringify([link, url, headers, params]);
  if (!clients.has(key)) {
    clients.set(key, createTRPCClient({ links: [links[link]({ url, headers, params })] }));
  }
  return clients.get(key);
}

const running = new Map();

function subscribe(procedure, id, input, signal) {
  const subscription = procedure.subscribe(input, {
    signal,
    onStarted: () => emit(id, 'started'),
    onData: (value) => emit(id, 'data', { value: superjson.serialize(value) }),
    onConnectionStateChange: ({ state, error }) => emit(id, 'state', { state, error: error && describe(error) }),
    onStopped: () => emit(id, 'stopped'),
    onComplete: () => emit(id, 'complete'),
    onError: (error) => emit(id, 'error', { error: describe(error) }),
  });
  return () => subscription.unsubscribe();
}

// The value when all of it has come.
async function collect(id, value) {
  if (typeof value?.then === 'function') {
    return value.then(async (later) => ({ later: await collect(id, later) }), (error) => ({ rejected: describe(error) }));
  }
  if (typeof value?.[Symbol.asyncIterator] === 'function') {
    return iterate(id, value);
  }
  if (value?.constructor === Object) {
    const members = Object.entries(value).map(async ([name, member]) => [name, await collect(id, member)]);
    return Object.fromEntries(await Promise.all(members));
  }
  return superjson.serialize(value);
}

async function iterate(id, iterable) {
  const items = [];
  try {
    for await (const item of iterable) {
      items.push(collect(id, item));
      emit(id, 'item', { value: await items.at(-1) });
    }
  } catch (error) {
    return { items: await Promise.all(items), error: describe(error) };
  }
  return { items: await Promise.all(items) };
}

function call(procedure, type, id, input, signal) {
  procedure[type](input, { signal })
    .then(async (value) => emit(id, 'value', { value: await collect(id, value) }))
    .catch((error) => emit(id, 'error', { error: describe(error) }))
    .finally(() => running.delete(id));
  return () => {};
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, path, type, input, ...options } = JSON.parse(line);
  if (op === 'stop') {
    running.get(id)?.stop();
  } else if (op === 'abort') {
    running.get(id)?.controller.abort();
  } else {
    const controller = new AbortController();
    const procedure = path.split('.').reduce((node, name) => node[name], clientOf(options));
    const given = input && superjson.deserialize(input);
    const start = op === 'subscribe' ? subscribe : (...all) => call(all[0], type, ...all.slice(1));
    running.set(id, { controller, stop: start(procedure, id, given, controller.signal) });
  }
}
process.exit(0);
