// Uses of the types that must compile. Each is one statement below a comment "ok: …"; test_types.py counts them. Nothing here runs.

import { infiniteQueryOptions, QueryClient, useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import {
  createTRPCClient,
  httpBatchLink,
  httpBatchStreamLink,
  httpLink,
  httpSubscriptionLink,
  isNonJsonSerializable,
  isTRPCClientError,
  loggerLink,
  splitLink,
  TRPCClientError,
} from "@trpc/client";
import type { inferRouterError, inferRouterInputs, inferRouterOutputs } from "@trpc/server";
import { createTRPCContext, createTRPCOptionsProxy, useSubscription } from "@trpc/tanstack-react-query";
import { createAttachdClient, uploadContext } from "attachd-client";
import type {
  AppRouter,
  AttachdClient,
  Attachment,
  AttachmentItem,
  ErrorCode,
  ErrorData,
  ErrorReason,
  Inputs,
  Outputs,
  PageInput,
  Progress,
  UploadLimits,
} from "attachd-client";
import { EventSource as NodeEventSource } from "eventsource";
import superjson from "superjson";

declare const id: string;
declare const file: File;
declare const error: unknown;
declare const queryClient: QueryClient;
declare const attachd: AttachdClient;

// The client

// ok: the stock client with a batch link
const client = createTRPCClient<AppRouter>({ links: [httpBatchLink({ url: "/api/trpc", transformer: superjson })] });

// ok: every other HTTP link takes the transformer too
export const links = createTRPCClient<AppRouter>({
  links: [
    loggerLink(),
    splitLink({
      condition: (op) => op.type === "subscription",
      true: httpSubscriptionLink({ url: "/api/trpc", transformer: superjson }),
      false: splitLink({
        condition: (op) => isNonJsonSerializable(op.input),
        true: httpLink({ url: "/api/trpc", transformer: superjson }),
        false: httpBatchStreamLink({ url: "/api/trpc", transformer: superjson }),
      }),
    }),
  ],
});

// ok: a query gives what the procedure gives
export const items: Promise<AttachmentItem[]> = client.attachments.list.query({ conversationId: id });

// ok: members of the answer have the types of the wire
export const sizes: Promise<number> = client.attachments.list
  .query({ conversationId: id })
  .then((all) => all.reduce((sum, item) => sum + item.size, 0));

// ok: a nullable member is narrowed
export const conversation: Promise<string> = client.attachments.get
  .query({ id })
  .then((one) => one.conversation_id ?? "none");

// ok: a member that may be absent is undefined then
export const deletedAt: Promise<string | undefined> = client.attachments.get.query({ id }).then((one) => one.deleted_at);

// ok: a query without input takes none
export const usage: Promise<{ count: number; bytes: number }> = client.attachments.usage.query();

// ok: a query without input takes options behind an undefined one
export const limits: Promise<UploadLimits> = client.attachments.limits.query(undefined, { signal: AbortSignal.timeout(1) });

// ok: a mutation
export const deleted: Promise<{ success: boolean }> = client.attachments.delete.mutate({ id });

// ok: a mutation with a list
export const attached: Promise<AttachmentItem[]> = client.attachments.attach
  .mutate({ ids: [id], conversationId: id })
  .then(({ items: linked }) => linked);

// ok: members with a default may be left out
export const firstPage = client.attachments.page.query({});

// ok: optional members may be undefined, nullable ones null
export const filtered = client.attachments.page.query({ conversationId: undefined, cursor: null, ownerId: id, limit: 200 });

// ok: literal unions take their literals
export const sorted = client.attachments.page.query({ sort: "size", order: "asc", direction: "backward", contentType: "image/*" });

// ok: getMany gives what it found and what it missed
export const found: Promise<[Attachment[], string[]]> = client.attachments.getMany
  .query({ ids: [id] })
  .then((answer) => [answer.items, answer.missing]);

// ok: a link, with and without the member that has a default
export const linked: Promise<string[]> = Promise.all([
  client.attachments.url.query({ id }),
  client.attachments.url.query({ id, download: true }),
]).then((all) => all.map(({ url, expires_at }) => `${url} until ${expires_at}`));

// ok: rename and restore give the attachment
export const renamed: Promise<Attachment[]> = Promise.all([
  client.attachments.rename.mutate({ id, filename: "new.txt" }),
  client.attachments.restore.mutate({ id }),
]);

// Inference

// ok: inputs by inferRouterInputs
export const listInput: inferRouterInputs<AppRouter>["attachments"]["list"] = { conversationId: id };

// ok: inputs by the exported type
export const pageInput: Inputs["attachments"]["page"] = { limit: 10 } satisfies PageInput;

// ok: outputs by inferRouterOutputs
export const deletedOutput: inferRouterOutputs<AppRouter>["attachments"]["delete"] = { success: true };

// ok: outputs by the exported type are those of the named interfaces
export const item: Outputs["attachments"]["list"][number] = {} as AttachmentItem;

// ok: the input of a procedure without one is nothing
export const nothing: Inputs["attachments"]["usage"] = undefined;

// ok: the error shape by inferRouterError
export const shape: inferRouterError<AppRouter>["data"]["reason"] = "ATTACHMENT_TOO_LARGE" satisfies ErrorReason;

// Errors

// ok: the data of an error is typed
export const status = (failure: TRPCClientError<AppRouter>): number | undefined => failure.data?.httpStatus;

// ok: an error of unknown origin is narrowed
export const code: ErrorCode | undefined = isTRPCClientError<AppRouter>(error) ? error.data?.code : undefined;

// ok: codes narrow in a switch that must be complete
export const message = (reason: ErrorReason): string => {
  switch (reason) {
    case "ATTACHMENT_TOO_LARGE":
      return "too large";
    case "INVALID_ATTACHMENT_TYPE":
      return "of a type that is not taken";
  }
};

// ok: the path may be absent
export const path = (data: ErrorData): string => data.path ?? "the request as a whole";

// Subscriptions

// ok: callbacks get tracked items
export const subscription = client.attachments.onChange.subscribe(
  { conversationId: id },
  {
    onData: (event) => console.log(event.id, event.data.type, event.data.attachment?.filename),
    onError: (failure) => console.log(failure.data?.code),
    onConnectionStateChange: (state) => console.log(state.state),
  },
);

// ok: a subscription goes on after an id
export const resumed = client.attachments.onChange.subscribe(
  { conversationId: id, lastEventId: "12" },
  { onData: ({ data: { type } }) => (type === "deleted" ? console.log("gone") : undefined) },
).unsubscribe;

// ok: a subscription is an async iterable
export const first = async (): Promise<string | undefined> => {
  for await (const event of client.attachments.onChange.subscribe({ conversationId: id })) {
    return event.id;
  }
  return undefined;
};

// Uploads

// ok: a file, blob, bytes or form through the procedure
export const uploads: Promise<Attachment[]> = Promise.all(
  [file, new Blob(["text"]), new Uint8Array(3), new FormData()].map((body) => client.attachments.upload.mutate(body)),
);

// ok: details in the context of the call
export const withDetails = client.attachments.upload.mutate(file, { context: uploadContext({ conversationId: id }) });

// ok: upload with progress and abort
export const uploaded: Promise<Attachment> = attachd.upload(file, {
  filename: "note.txt",
  conversationId: id,
  ticketId: id,
  onProgress: ({ loaded, total }: Progress) => console.log(loaded / (total ?? Infinity)),
  signal: new AbortController().signal,
});

// ok: bytes with a name
export const bytes = attachd.upload(new Uint8Array([1, 2, 3]), { filename: "a.txt" }).then(({ storage_path }) => storage_path);

// createAttachdClient

// ok: an address is enough
export const plain: AttachdClient = createAttachdClient({ url: new URL("https://files.example.com/api/trpc") });

// ok: all options
export const full = createAttachdClient({
  url: "/api/trpc",
  token: async () => "key",
  headers: () => ({ "x-tenant": "a", "x-none": undefined }),
  connectionParams: { tenant: "a" },
  credentials: "include",
  subscriptions: "websocket",
  stream: false,
  maxBatchSize: 10,
  maxUrlLength: 2000,
  methodOverride: "POST",
  links: [loggerLink()],
  fetch: globalThis.fetch,
  EventSource: NodeEventSource,
  WebSocket: globalThis.WebSocket,
  webSocketOptions: { keepAlive: { enabled: true }, retryDelayMs: () => 100 },
});

// ok: the client has the procedures and what is beyond them
export const both: Promise<void> = full.attachments.get.query({ id }).then(() => full.close());

// ok: a router of one's own
export const own: Promise<AttachmentItem[]> = createAttachdClient<AppRouter>({ url: "/" }).attachments.list.query({
  conversationId: id,
});

// TanStack Query

// ok: a context for React
export const { TRPCProvider, useTRPC, useTRPCClient } = createTRPCContext<AppRouter>();

// ok: options without React, over the ready client
const trpc = createTRPCOptionsProxy<AppRouter>({ client: attachd, queryClient });

// ok: query options give typed data
export const useFilenames = (): string[] =>
  useQuery(useTRPC().attachments.list.queryOptions({ conversationId: id })).data?.map((one) => one.filename) ?? [];

// ok: selected data
export const useTotal = (): number | undefined =>
  useQuery(trpc.attachments.usage.queryOptions(undefined, { select: ({ bytes: total }) => total, staleTime: 1000 })).data;

// ok: errors of a query are ours
export const useReason = (): ErrorReason | undefined => useQuery(trpc.attachments.get.queryOptions({ id })).error?.data?.reason;

// ok: infinite query options with cursors
export const useEndless = (): string[] =>
  useInfiniteQuery(
    useTRPC().attachments.page.infiniteQueryOptions(
      { conversationId: id, limit: 20 },
      { getNextPageParam: (page) => page.nextCursor, getPreviousPageParam: (page) => page.previousCursor },
    ),
  ).data?.pages.flatMap((page) => page.items.map((one) => one.owner_id)) ?? [];

// ok: infinite options of the library around ours
export const endless = infiniteQueryOptions(
  trpc.attachments.page.infiniteQueryOptions({}, { getNextPageParam: (page) => page.nextCursor, initialCursor: null }),
);

// ok: mutation options
export const useDelete = () =>
  useMutation(
    trpc.attachments.delete.mutationOptions({
      onSuccess: ({ success }, { id: gone }) => console.log(gone, success),
      onError: (failure) => console.log(failure.data?.code === "FORBIDDEN"),
    }),
  ).mutate;

// ok: uploads as a mutation, with their details
export const useUpload = () =>
  useMutation(trpc.attachments.upload.mutationOptions({ trpc: { context: uploadContext({ filename: "a.png" }) } })).mutateAsync(
    file,
  );

// ok: a subscription hook
export const useChanges = () =>
  useSubscription(
    trpc.attachments.onChange.subscriptionOptions({ conversationId: id }, { onData: ({ data }) => console.log(data.at) }),
  ).status;

// ok: keys and filters for the cache
export const invalidated = queryClient.invalidateQueries(trpc.attachments.list.queryFilter({ conversationId: id }));

// ok: data of the cache is typed by its key
export const cached: AttachmentItem[] | undefined = queryClient.getQueryData(trpc.attachments.list.queryKey({ conversationId: id }));
