// Uploads by the stock client, set up as its documentation has it for files: a split link, files by httpLink, the rest in batches.
//
// One process answers many commands, a JSON line each: {url, cookie, uploads: [{kind, file, filename, fields?, headers?, hold?}]}.
// `kind` is what the procedure is given, of the bytes in `file`; `filename` and `headers` go into the request's headers, for
// FormData into the form. With `hold` the body is sent as a stream that counts what is taken of it: at each count in that list
// it stops, {sent} is written, and a line is awaited: "go on", or "abort", which ends the call by its signal.
// The answer is a line {outcomes: [{value, got} or {error}, with sent]}: `got` is what attachments.get says, `sent` what was taken.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { createTRPCClient, httpBatchLink, httpLink, isNonJsonSerializable, splitLink } from '@trpc/client';
import superjson from 'superjson';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const inputs = {
  File: (bytes, { filename }) => new File([bytes], filename),
  Blob: (bytes) => new Blob([bytes]),
  Uint8Array: (bytes) => new Uint8Array(bytes),
  // A view into a larger buffer: only what it shows may be sent.
  view: (bytes) => new Uint8Array(Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')]).buffer.slice(0)).subarray(6, 6 + bytes.length),
  FormData: (bytes, { filename, fields }) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields ?? {})) form.append(name, value);
    form.append('file', new File([bytes], filename));
    return form;
  },
  // Not among what the link takes for binary: it becomes JSON.
  ReadableStream: (bytes) => new Blob([bytes]).stream(),
};

// The body in pieces as the connection asks for them, counted into `progress`; stops where `hold` says.
async function* counted(body, hold, progress, controller) {
  const stops = [...hold];
  const bytes = new Uint8Array(await body.arrayBuffer());
  while (progress.sent < bytes.length) {
    const piece = bytes.subarray(progress.sent, progress.sent + 65_536);
    yield piece;
    progress.sent += piece.length;
    if (!stops.length || progress.sent < stops[0]) continue;
    stops.shift();
    write({ sent: progress.sent });
    if ((await lines.next()).value === 'abort') controller.abort();
  }
}

function createClient({ url, cookie }, { kind, filename, headers = {}, hold }, progress, controller) {
  const named = kind === 'FormData' || filename === undefined ? {} : { 'x-attachd-filename': encodeURIComponent(filename) };
  const options = { url, transformer: superjson };
  const watched = (input, init) =>
    fetch(input, { ...init, body: ReadableStream.from(counted(init.body, hold, progress, controller)), duplex: 'half' });
  return createTRPCClient({
    links: [
      splitLink({
        condition: (op) => isNonJsonSerializable(op.input),
        true: httpLink({ ...options, headers: () => ({ cookie, ...named, ...headers }), ...(hold && { fetch: watched }) }),
        false: httpBatchLink({ ...options, headers: () => ({ cookie }) }),
      }),
    ],
  });
}

async function upload(site, spec) {
  const progress = { sent: 0 };
  const controller = new AbortController();
  const client = createClient(site, spec, progress, controller);
  const input = inputs[spec.kind](await readFile(spec.file), spec);
  try {
    const value = await client.attachments.upload.mutate(input, { signal: controller.signal });
    const got = await client.attachments.get.query({ id: value.id });
    return { value, got, sent: progress.sent };
  } catch (error) {
    const { name, message, data } = error;
    return { error: { name, message, data, cause: error.cause?.name }, sent: progress.sent };
  }
}

for (;;) {
  const { value: line, done } = await lines.next();
  if (done) break;
  const { uploads, ...site } = JSON.parse(line);
  write({ outcomes: await Promise.all(uploads.map((spec) => upload(site, spec))) });
}
