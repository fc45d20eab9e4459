// What a test of attachd-client does in Node: `node smoke.mjs SCENARIO`, with the site as JSON on standard input. Prints what it saw
// as JSON. A failure of the client is printed by its code and reason, anything else ends the process.

import { createAttachdClient, uploadContext } from "attachd-client";
import { EventSource } from "eventsource";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { WebSocket } from "ws";

const site = JSON.parse(await text(process.stdin));
const url = `${site.base}/api/trpc`;
const conversationId = site.conversation;
const requests = [];

// Notes each request, and what it asked for.
async function notingFetch(address, init) {
  const { pathname, search } = new URL(address);
  requests.push({ path: pathname.replace("/api/trpc/", ""), batch: search.includes("batch=1"), headers: { ...init.headers } });
  return fetch(address, init);
}

const clientOf = (options = {}) => createAttachdClient({ url, token: site.key || undefined, fetch: notingFetch, EventSource, WebSocket, ...options });
const failureOf = (error) => {
  if (error.name !== "TRPCClientError") throw error;
  return { code: error.data?.code ?? null, reason: error.data?.reason ?? null, cause: error.cause?.name ?? null, message: error.message };
};

async function batch(options) {
  const client = clientOf(options);
  const [items, limits, missing] = await Promise.all([
    client.attachments.list.query({ conversationId }),
    client.attachments.limits.query(),
    client.attachments.get.query({ id: conversationId }).catch(failureOf),
  ]);
  return { items, batchSize: limits.max_batch_size, missing, requests };
}

// The first events of a conversation while a file is uploaded to it, and that the subscription ends when it is told to.
async function subscribe(options) {
  const client = clientOf(options);
  const events = [];
  let stopped = false;
  await new Promise((resolve, reject) => {
    const subscription = client.attachments.onChange.subscribe(
      { conversationId },
      {
        onData: async ({ id, data }) => {
          events.push({ id, type: data.type, filename: data.attachment?.filename ?? null });
          if (data.type === "ready") await client.upload(new Blob(["event"]), { filename: "event.txt", conversationId });
          if (data.type === "created") subscription.unsubscribe();
        },
        onError: reject,
        onComplete: () => {
          stopped = true;
          resolve();
        },
      },
    );
  });
  await client.close();
  return { events, stopped, requests };
}

const megabytes = (count) => new Uint8Array(count * 2 ** 20).fill(120);
const digest = (bytes) => `sha-256=:${createHash("sha256").update(bytes).digest("base64")}:`;

async function uploaded() {
  const client = clientOf();
  const bytes = megabytes(5);
  const progress = [];
  const attachment = await client.upload(new File([bytes], "größe ✓.txt"), {
    conversationId,
    ticketId: conversationId,
    contentDigest: digest(bytes),
    onProgress: (step) => progress.push(step),
  });
  return { attachment, progress, requests };
}

// The three other ways for bytes, and a form, through the procedure itself.
async function bodies() {
  const client = clientOf();
  const form = new FormData();
  form.append("conversationId", conversationId);
  form.append("file", new Blob(["form"]), "form.txt");
  const context = uploadContext({ filename: "view.txt", conversationId });
  const counted = [];
  return {
    blob: await client.upload(new Blob(["blob"]), { filename: "blob.txt" }),
    view: await client.attachments.upload.mutate(new TextEncoder().encode("view"), { context }),
    form: await client.attachments.upload.mutate(form),
    counted: await client.attachments.upload.mutate(form, { context: uploadContext({ onProgress: (step) => counted.push(step) }) }),
    progress: counted,
    nameless: await client.upload(new Blob(["x"])).catch((error) => `${error.name}: ${error.message}`),
  };
}

// Aborted after the first MiB, with and without progress.
async function aborted() {
  const client = clientOf();
  const failures = [];
  let loaded = 0;
  const first = new AbortController();
  const onProgress = (step) => {
    loaded = step.loaded;
    if (loaded > 2 ** 20) first.abort();
  };
  failures.push(await client.upload(megabytes(20), { filename: "a.txt", conversationId, onProgress, signal: first.signal }).catch(failureOf));
  const early = AbortSignal.abort();
  failures.push(await client.upload(megabytes(1), { filename: "b.txt", conversationId, signal: early }).catch(failureOf));
  return { failures, loaded, items: await client.attachments.list.query({ conversationId }) };
}

async function refused() {
  const client = clientOf();
  const onProgress = () => undefined;
  const fails = (file, options) => client.upload(file, options).then(() => "kept", failureOf);
  return {
    large: await fails(megabytes(27), { filename: "a.txt", onProgress }),
    largeAtOnce: await fails(megabytes(27), { filename: "a.txt" }),
    type: await fails(new Blob(["<html>"]), { filename: "a.png" }),
    digest: await fails(new Blob(["text"]), { filename: "a.txt", contentDigest: digest("other") }),
    anonymous: await clientOf({ token: undefined }).attachments.usage.query().catch(failureOf),
    anonymousEvents: await new Promise((resolve) => {
      const options = { token: undefined, connectionParams: { authorization: "Bearer no such key" } };
      clientOf(options).attachments.onChange.subscribe({ conversationId }, { onError: (error) => resolve(failureOf(error)) });
    }),
    withoutEventSource: await new Promise((resolve) => {
      const bare = clientOf({ EventSource: undefined });
      bare.attachments.onChange.subscribe({ conversationId }, { onError: (error) => resolve(failureOf(error)) });
    }),
  };
}

// What leaves the client: the headers of an upload with progress, as another server sees them.
async function sent() {
  const listener = createServer((request, response) => {
    request.resume().on("end", () => response.end(JSON.stringify({ result: { data: { json: request.headers } } })));
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const client = clientOf({ url: `http://127.0.0.1:${listener.address().port}/api/trpc` });
  const details = { filename: "größe ✓.txt", conversationId, ticketId: "t", contentDigest: "sha-256=:x:" };
  const headers = await client.upload(megabytes(1), { ...details, onProgress: () => undefined });
  listener.close();
  return headers;
}

// A token that is asked for anew, headers from a function, and links before ours.
async function options() {
  const seen = [];
  let asked = 0;
  const client = clientOf({
    token: async () => ((asked += 1), site.key),
    headers: () => ({ "x-tenant": "a" }),
    links: [() => ({ op, next }) => (seen.push(op.path), next(op))],
    methodOverride: "POST",
    maxBatchSize: 2,
  });
  await Promise.all([1, 2, 3].map(() => client.attachments.usage.query()));
  return { asked, seen, requests };
}

// A page of the server's own origin, where uploads with progress go by XMLHttpRequest.
async function browser() {
  const { JSDOM } = await import("jsdom");
  const { window } = new JSDOM("", { url: site.base });
  window.document.cookie = `session=${site.session}`;
  Object.assign(globalThis, { XMLHttpRequest: window.XMLHttpRequest, location: window.location });
  const client = createAttachdClient({ url, fetch: () => Promise.reject(new Error("an upload with progress goes by XMLHttpRequest")) });
  const progress = [];
  const attachment = await client.upload(megabytes(3), {
    filename: "page.txt",
    conversationId,
    onProgress: (step) => progress.push(step),
  });
  const controller = new AbortController();
  const { send } = window.XMLHttpRequest.prototype;
  window.XMLHttpRequest.prototype.send = function (body) {
    send.call(this, body);
    controller.abort();
  };
  const onProgress = () => undefined;
  const stopped = await client
    .upload(megabytes(20), { filename: "stopped.txt", conversationId, onProgress, signal: controller.signal })
    .catch(failureOf);
  window.XMLHttpRequest.prototype.send = send;
  const refusal = await client.upload(new Blob(["<html>"]), { filename: "a.png", onProgress }).catch(failureOf);
  window.close();
  return { attachment, progress, stopped, refusal };
}

// What each type of every_type.py is when it comes: the class of each member, and what else tells.
async function types() {
  const client = clientOf({ stream: false });
  const kinds = (value) => Object.fromEntries(Object.entries(value).map(([name, part]) => [name, kind(part)]));
  const kind = (value) => Object.prototype.toString.call(value).slice(8, -1);
  const leaves = {
    anything: [1],
    flag: true,
    count: 1,
    huge: 2n ** 60n,
    ratio: Infinity,
    slug: "a",
    raw: new Uint8Array([1, 2]),
    moment: new Date(0),
    day: "2026-11-22",
    clock: "10:30:00",
    lasting: "PT5S",
    price: "12.50",
    key: conversationId,
    page: new URL("https://example.com/"),
    pattern: /a+/i,
    failure: new TypeError("lost"),
    color: "deep blue",
    level: 2,
    fixed: "off",
  };
  const containers = {
    names: ["a"],
    nullable_names: [null],
    matrix: [[1]],
    several: [1, 2],
    pair: [1, "a"],
    tags: new Set(["a"]),
    frozen: new Set([1]),
    by_name: { a: 1 },
    by_number: new Map([[1, "a"]]),
    by_unit: { m: 1 },
    by_letter: { a: true },
    by_key: new Map([[conversationId, 1]]),
    by_either: new Map([
      ["a", 1],
      [2, 2],
    ]),
    by_anything: { a: 1 },
    untyped: [{}],
  };
  const back = await client.leaves.get.query(leaves);
  return {
    leaves: kinds(back),
    values: [String(back.huge), back.ratio === Infinity, [...back.raw], back.moment.getTime(), back.price, String(back.pattern)],
    containers: kinds(await client.leaves.containers.query(containers)),
    empty: kind((await client.leaves.containers.query({ ...containers, by_number: new Map() })).by_number),
    options: await client.leaves.deep.options.mutate({ mustBe: "x", mayBeNull: null, unsetByDefault: undefined }),
    sparse: [await client.sparse.mutate(), await client.sparse.mutate({ always: 1 })],
    tree: await client.tree.query({ name: "root", children: [{ name: "leaf" }] }),
    nothing: await client.nothing.query(),
    local: await client.local.query({ at: "2026-11-22T10:30:00" }),
    animal: await client.animals.query({ kind: "bird", wings: 2 }),
    arrays: await client.arrays.query([1, 2]),
    dicts: [await client.dicts.query({ width: 640 }), await client.headers.query({ accept: "text" })],
    pages: [await client.pages.query(["a"]), await client.pages_of_text.query("a")],
    items: await client.items.query(),
  };
}

// What comes piece by piece: members of an answer, a query, and subscriptions over both ways.
async function pieces() {
  const client = clientOf();
  const later = await client.later.query();
  const all = async (iterable, most = Infinity) => {
    const seen = [];
    for await (const item of iterable) {
      seen.push(item);
      if (seen.length === most) break;
    }
    return seen;
  };
  const socket = clientOf({ subscriptions: "websocket" });
  const seen = {
    later: [later.now, await later.soon, await all(later.piece_by_piece)],
    counted: await all(await client.count.query(3)),
    ticks: (await all(client.ticks.subscribe(undefined), 1)).map((tick) => tick instanceof Date),
    changes: await all(client.changes.subscribe("mine"), 1),
    changesOfSocket: await all(socket.changes.subscribe("mine"), 1),
  };
  await socket.close();
  return seen;
}

const scenarios = {
  types,
  pieces,
  batch: () => batch({ stream: false }),
  stream: () => batch({ stream: true }),
  sse: () => subscribe({ subscriptions: "sse" }),
  websocket: () => subscribe({ subscriptions: "websocket" }),
  uploaded,
  bodies,
  aborted,
  refused,
  sent,
  options,
  browser,
};
process.stdout.write(JSON.stringify(await scenarios[process.argv[2]]()));
