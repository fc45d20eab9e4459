/**
 * `fetch` that tells how much of the body was sent. Browsers do so through `XMLHttpRequest` alone (their `fetch` sends streams over
 * HTTP/2 only); elsewhere the body is a stream that is counted while it is read.
 */

import type { Progress } from "./upload.js";

type Fetch = typeof globalThis.fetch;
type OnProgress = (progress: Progress) => void;

const PIECE_BYTES = 65_536; // of the body, between two calls of `onProgress`

/** A `fetch` for one request with a body, which calls `onProgress` while the body is being sent. */
export function fetchWithProgress(onProgress: OnProgress, fetch: Fetch, credentials: RequestCredentials | undefined): Fetch {
  return typeof XMLHttpRequest === "undefined"
    ? (url, init) => fetchCounting(onProgress, fetch, url, init ?? {})
    : (url, init) => fetchByXhr(onProgress, credentials, url, init ?? {});
}

function fetchByXhr(
  onProgress: OnProgress,
  credentials: RequestCredentials | undefined,
  url: RequestInfo | URL,
  init: RequestInit,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open(init.method ?? "POST", url instanceof Request ? url.url : url);
    request.withCredentials = credentials === "include";
    new Headers(init.headers).forEach((value, name) => request.setRequestHeader(name, value));
    request.upload.onprogress = ({ loaded, total, lengthComputable }) =>
      onProgress({ loaded, total: lengthComputable ? total : undefined });
    request.onload = () => resolve(responseOf(request));
    request.onerror = () => reject(new TypeError("the upload failed: the server could not be reached, or it broke off"));
    request.onabort = () => reject(init.signal?.reason ?? new DOMException("The upload was aborted.", "AbortError"));
    request.onloadend = () => init.signal?.removeEventListener("abort", abort);
    init.signal?.addEventListener("abort", abort, { once: true });
    request.send(init.body as XMLHttpRequestBodyInit);
  });
}

function responseOf(request: XMLHttpRequest): Response {
  const headers = new Headers();
  for (const line of request.getAllResponseHeaders().trim().split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0) {
      headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
    }
  }
  return new Response(request.responseText || null, { status: request.status, headers });
}

function fetchCounting(onProgress: OnProgress, fetch: Fetch, url: RequestInfo | URL, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  const { body } = init;
  let pieces: ReadableStream<Uint8Array>;
  let total: number | undefined;
  if (ArrayBuffer.isView(body)) {
    const bytes = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
    pieces = piecesOf(bytes.byteLength, (start, stop) => bytes.subarray(start, stop));
    total = bytes.byteLength;
  } else if (body instanceof Blob) {
    // Not `body.stream()`, which in Node gives a Blob made of one array as one piece.
    pieces = piecesOf(body.size, async (start, stop) => new Uint8Array(await body.slice(start, stop).arrayBuffer()));
    total = body.size;
  } else {
    const encoded = new Response(body ?? ""); // encodes a form and chooses its boundary
    pieces = encoded.body as ReadableStream<Uint8Array>;
    headers.set("content-type", encoded.headers.get("content-type") ?? "application/octet-stream");
  }
  if (total !== undefined) {
    headers.set("content-length", String(total)); // so that a file over the limit is refused before it is sent
  }
  let loaded = 0;
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, controller) {
      controller.enqueue(piece);
      loaded += piece.byteLength;
      onProgress({ loaded, total });
    },
  });
  const streamed = { ...init, headers, body: pieces.pipeThrough(count), duplex: "half" };
  return fetch(url, streamed as RequestInit);
}

/** `total` bytes in pieces, each read when it is asked for. */
function piecesOf(
  total: number,
  read: (start: number, stop: number) => Uint8Array | Promise<Uint8Array>,
): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (at < total) {
          controller.enqueue(await read(at, (at = Math.min(at + PIECE_BYTES, total))));
        } else {
          controller.close();
        }
      },
    },
    { highWaterMark: 0 },
  );
}
