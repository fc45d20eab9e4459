/** The client and its links: which call goes which way. */

import {
  createTRPCClient,
  createWSClient,
  httpBatchLink,
  httpBatchStreamLink,
  httpLink,
  httpSubscriptionLink,
  isNonJsonSerializable,
  splitLink,
  wsLink,
} from "@trpc/client";
import type { HTTPHeaders, TRPCClient, TRPCLink, TRPCWebSocketClient, WebSocketClientOptions } from "@trpc/client";
import type { AnyTRPCRouter } from "@trpc/server";
import superjson from "superjson";

import type { AppRouter, Outputs } from "./router.js";
import { fetchWithProgress } from "./transport.js";
import { detailsOf, filenameOf, uploadContext, uploadHeaders } from "./upload.js";
import type { UploadOptions } from "./upload.js";

type MaybePromise<T> = T | Promise<T>;
type SubscriptionLinkOptions = Parameters<typeof httpSubscriptionLink>[0];
/** What links take for `fetch`: the global one, in words that forbid less than `exactOptionalPropertyTypes` does. */
type LinkFetch = NonNullable<Parameters<typeof httpLink>[0]["fetch"]>;
type HeaderRecord = Record<string, string | undefined>;

/** How to reach attachd, and in which way. */
export interface AttachdClientOptions {
  /** Where the procedures are, such as `https://files.example.com/api/trpc`. In browsers it may be a path. */
  url: string | URL;
  /** An API key, or what gives one, asked for each request; it is sent as `Authorization: Bearer`, also with subscriptions. */
  token?: string | (() => MaybePromise<string | undefined>) | undefined;
  /** Headers for each HTTP request. `EventSource` and `WebSocket` of browsers send none: see `connectionParams`. */
  headers?: HeaderRecord | (() => MaybePromise<HeaderRecord>) | undefined;
  /** What subscriptions say in the place of headers; `authorization` is read as the header is. By default that of `token`. */
  connectionParams?: Record<string, string> | (() => MaybePromise<Record<string, string>>) | undefined;
  /** Whether cookies go to another origin (`include`); by default as with `fetch`, to the page's own. */
  credentials?: RequestCredentials | undefined;
  /** How subscriptions come: as server-sent events, the default, or over a WebSocket, opened with the first of them. */
  subscriptions?: "sse" | "websocket" | undefined;
  /** Whether the answers of a batch come one by one (`httpBatchStreamLink`, the default) or together (`httpBatchLink`). */
  stream?: boolean | undefined;
  /** How many calls a batch may have; not more than `server.max_batch_size`, which is 100 by default. */
  maxBatchSize?: number | undefined;
  /** How long the address of a batch may be, in characters; proxies allow 8 KiB as a rule. */
  maxUrlLength?: number | undefined;
  /** Sends queries by POST too (`server.method_override`). */
  methodOverride?: "POST" | undefined;
  /** Links before ours, such as `loggerLink()` or `retryLink(…)`. */
  links?: TRPCLink<AppRouter>[] | undefined;
  /** In the place of the global `fetch`. In browsers, uploads that tell their progress go by `XMLHttpRequest` instead. */
  fetch?: typeof globalThis.fetch | undefined;
  /** For runtimes without one, such as Node: the class of the package `eventsource`. */
  EventSource?: NonNullable<SubscriptionLinkOptions["EventSource"]> | undefined;
  /** For runtimes without one, such as Node before 22: the class of the package `ws`. */
  WebSocket?: typeof globalThis.WebSocket | undefined;
  /** How the WebSocket behaves: `keepAlive`, `lazy`, `retryDelayMs` and callbacks. */
  webSocketOptions?: Omit<WebSocketClientOptions, "url" | "connectionParams" | "WebSocket"> | undefined;
}

/** The procedures of `TRouter`, and what goes beyond procedures. */
export type AttachdClient<TRouter extends AnyTRPCRouter = AppRouter> = TRPCClient<TRouter> & {
  /**
   * Upload a file and get its attachment. Without `filename` it must be a `File`.
   *
   * Fails with a `TRPCClientError<AppRouter>`; `data.reason` tells a file that is too large, or of a type that is not taken.
   */
  upload: (
    file: File | Blob | Uint8Array<ArrayBuffer>,
    options?: UploadOptions,
  ) => Promise<Outputs["attachments"]["upload"]>;
  /** Close the WebSocket, if there is one. Subscriptions over it end. */
  close: () => Promise<void>;
};

/** Says what to do where there is no `EventSource`; `createWSClient` says so of `WebSocket` by itself. */
class NoEventSource {
  constructor() {
    throw new TypeError("there is no EventSource here: give one as an option, in Node the class of the package `eventsource`");
  }
}

const LAZY = { enabled: true, closeMs: 10_000 };

/**
 * A client of attachd with every link wired. With procedures of your own beside ours, give it the router that
 * `attachd types` wrote for them: `createAttachdClient<MyRouter>({ url })`.
 */
export function createAttachdClient<TRouter extends AnyTRPCRouter = AppRouter>(
  options: AttachdClientOptions,
): AttachdClient<TRouter> {
  const sockets = options.subscriptions === "websocket" ? webSocketOf(options) : undefined;
  const client = createTRPCClient<AppRouter>({
    links: [
      ...(options.links ?? []),
      splitLink({
        condition: (op) => op.type === "subscription",
        true: sockets ? wsLink<AppRouter>({ client: sockets, transformer: superjson }) : eventsLink(options),
        false: splitLink({
          condition: (op) => isNonJsonSerializable(op.input),
          true: fileLink(options),
          false: batchLink(options),
        }),
      }),
    ],
  });
  const beyond = {
    upload: async (file: File | Blob | Uint8Array<ArrayBuffer>, upload: UploadOptions = {}) => {
      const { signal, ...details } = upload;
      if (filenameOf(file, details) === undefined) {
        throw new TypeError("an upload needs a name: give a File, or the option `filename`");
      }
      return client.attachments.upload.mutate(file, { context: uploadContext(details), ...(signal ? { signal } : {}) });
    },
    close: async () => {
      await sockets?.close();
    },
  };
  // tRPC's client is a proxy that answers every name; ours come first.
  return new Proxy(client, {
    get: (target, name) => Reflect.get(name in beyond ? beyond : target, name) as unknown,
  }) as unknown as AttachdClient<TRouter>;
}

function batchLink(options: AttachdClientOptions): TRPCLink<AppRouter> {
  const link = options.stream === false ? httpBatchLink : httpBatchStreamLink;
  return link<AppRouter>({
    url: options.url,
    transformer: superjson,
    headers: () => headersOf(options),
    fetch: fetchOf(options) as LinkFetch,
    maxItems: options.maxBatchSize ?? 100,
    maxURLLength: options.maxUrlLength ?? 8_000,
    ...(options.methodOverride ? { methodOverride: options.methodOverride } : {}),
  });
}

/** `httpLink` made anew for each call, so that its `fetch` knows whose progress to tell. */
function fileLink(options: AttachdClientOptions): TRPCLink<AppRouter> {
  return (runtime) =>
    ({ op, next }) => {
      const details = detailsOf(op.context);
      const fetch = fetchOf(options);
      const link = httpLink<AppRouter>({
        url: options.url,
        transformer: superjson,
        headers: async () => ({ ...(await headersOf(options)), ...uploadHeaders(op.input, details) }),
        fetch: (details.onProgress
          ? fetchWithProgress(details.onProgress, fetch, options.credentials)
          : fetch) as LinkFetch,
      });
      return link(runtime)({ op, next });
    };
}

function eventsLink(options: AttachdClientOptions): TRPCLink<AppRouter> {
  return httpSubscriptionLink<AppRouter, NonNullable<SubscriptionLinkOptions["EventSource"]>>({
    url: String(options.url),
    transformer: superjson,
    ...connectionParamsOf(options),
    eventSourceOptions: { withCredentials: options.credentials === "include" },
    EventSource: options.EventSource ?? globalThis.EventSource ?? NoEventSource,
  });
}

function webSocketOf(options: AttachdClientOptions): TRPCWebSocketClient {
  return createWSClient({
    lazy: LAZY,
    ...options.webSocketOptions,
    url: () => new URL(options.url, globalThis.location?.href).href.replace(/^http/, "ws"),
    ...connectionParamsOf(options),
    ...(options.WebSocket ? { WebSocket: options.WebSocket } : {}),
  });
}

function fetchOf(options: AttachdClientOptions): typeof globalThis.fetch {
  const { credentials } = options;
  return (url, init) => (options.fetch ?? globalThis.fetch)(url, credentials ? { ...init, credentials } : init);
}

async function headersOf(options: AttachdClientOptions): Promise<HTTPHeaders> {
  const authorization = await authorizationOf(options);
  const headers = typeof options.headers === "function" ? await options.headers() : options.headers;
  return { ...(authorization === undefined ? {} : { authorization }), ...headers };
}

/** The option of links that says who asks; without anything to say there is none, and the server is told nothing empty. */
function connectionParamsOf(options: AttachdClientOptions) {
  const { token, connectionParams } = options;
  if (token === undefined && connectionParams === undefined) {
    return {};
  }
  return {
    connectionParams: async (): Promise<Record<string, string>> => {
      const authorization = await authorizationOf(options);
      const params = typeof connectionParams === "function" ? await connectionParams() : connectionParams;
      return { ...(authorization === undefined ? {} : { authorization }), ...params };
    },
  };
}

async function authorizationOf({ token }: AttachdClientOptions): Promise<string | undefined> {
  const key = typeof token === "function" ? await token() : token;
  return key === undefined ? undefined : `Bearer ${key}`;
}
