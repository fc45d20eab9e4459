// Uses of the types that must not compile: each is one line below a directive with the number of its error. test_types.py counts
// them, and compiles them without the directives to see each one fail, for that reason. Nothing here runs.

import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { createTRPCClient, httpBatchLink, httpLink, TRPCClientError } from "@trpc/client";
import type { inferRouterInputs, inferRouterOutputs } from "@trpc/server";
import { createTRPCContext, createTRPCOptionsProxy } from "@trpc/tanstack-react-query";
import { createAttachdClient, uploadContext } from "attachd-client";
import type { AppRouter, AttachdClient, Attachment, ErrorCode, ErrorData, Inputs, Outputs, Page } from "attachd-client";
import superjson from "superjson";

declare const id: string;
declare const file: File;
declare const attachd: AttachdClient;
declare const attachment: Attachment;
declare const failure: TRPCClientError<AppRouter>;
declare const page: Page;
const client = createTRPCClient<AppRouter>({ links: [httpBatchLink({ url: "/", transformer: superjson })] });
const trpc = createTRPCOptionsProxy<AppRouter>({ client: attachd, queryClient: {} as never });

// Calls

// @ts-expect-error 2345: a link without the transformer
createTRPCClient<AppRouter>({ links: [httpLink({ url: "/" })] });
// @ts-expect-error 2551: no such router
client.attachment.list.query({ conversationId: id });
// @ts-expect-error 2551: no such procedure
client.attachments.lists.query({ conversationId: id });
// @ts-expect-error 2339: a query is not mutated
client.attachments.list.mutate({ conversationId: id });
// @ts-expect-error 2339: a mutation is not queried
client.attachments.delete.query({ id });
// @ts-expect-error 2339: a subscription is not queried
client.attachments.onChange.query({ conversationId: id });
// @ts-expect-error 2554: the input is missing
client.attachments.list.query();
// @ts-expect-error 2345: a member is missing
client.attachments.list.query({});
// @ts-expect-error 2561: the name of the wire, not that of the database
client.attachments.list.query({ conversation_id: id });
// @ts-expect-error 2353: a member too many
client.attachments.get.query({ id, deleted: true });
// @ts-expect-error 2322: a member of the wrong type
client.attachments.get.query({ id: 7 });
// @ts-expect-error 2322: null where the server takes none
client.attachments.page.query({ limit: null });
// @ts-expect-error 2322: a number as text
client.attachments.page.query({ limit: "20" });
// @ts-expect-error 2322: no such sort
client.attachments.page.query({ sort: "name" });
// @ts-expect-error 2322: no such direction
client.attachments.page.query({ direction: "sideways" });
// @ts-expect-error 2322: one id where a list is needed
client.attachments.getMany.query({ ids: id });
// @ts-expect-error 2345: half of the input
client.attachments.attach.mutate({ ids: [id] });
// @ts-expect-error 2322: text where true or false is needed
client.attachments.url.query({ id, download: "yes" });
// @ts-expect-error 2345: an input to a procedure that takes none
client.attachments.usage.query({ conversationId: id });

// Outputs

// @ts-expect-error 2339: the answer is a list
client.attachments.list.query({ conversationId: id }).then((all) => all.filename);
// @ts-expect-error 2532: an element may be absent
client.attachments.list.query({ conversationId: id }).then((all) => all[0].filename);
// @ts-expect-error 18047: a nullable member
client.attachments.get.query({ id }).then((one) => one.conversation_id.length);
// @ts-expect-error 18048: a member that may be absent
attachment.deleted_at.length;
// @ts-expect-error 2339: a time is text, not a Date
attachment.created_at.getTime();
// @ts-expect-error 2339: a list item does not tell where its bytes are
client.attachments.list.query({ conversationId: id }).then(([one]) => one?.storage_path);
// @ts-expect-error 2339: no such member
page.nextPage;

// Inference

// @ts-expect-error 2561: inferRouterInputs knows the members
export const input: inferRouterInputs<AppRouter>["attachments"]["list"] = { conversation: id };
// @ts-expect-error 2322: inferRouterOutputs knows the types
export const output: inferRouterOutputs<AppRouter>["attachments"]["delete"] = { success: "yes" };
// @ts-expect-error 2339: no such procedure among the inputs
export type Missing = Inputs["attachments"]["purge"];
// @ts-expect-error 2739: an attachment has more members than an item
export const whole: Outputs["attachments"]["get"] = {} as Outputs["attachments"]["list"][number];

// Errors

// @ts-expect-error 2322: no such code
export const code: ErrorCode = "GONE";
// @ts-expect-error 2367: codes that cannot be equal
export const isGone = failure.data?.code === "GONE";
// @ts-expect-error 2367: no such reason
export const isLarge = failure.data?.reason === "TOO_LARGE";
// @ts-expect-error 18049: there may be no data: the server was not reached
failure.data.code;
// @ts-expect-error 2322: the status is a number
export const status: ErrorData["httpStatus"] = "404";
// @ts-expect-error 2339: no such member
failure.data?.zodError;

// Subscriptions

// @ts-expect-error 2769: the conversation is missing
client.attachments.onChange.subscribe({}, { onData: () => undefined });
// @ts-expect-error 2769: ids of events are text
client.attachments.onChange.subscribe({ conversationId: id, lastEventId: 12 }, { onData: () => undefined });
// @ts-expect-error 2339: the item is inside `data`
client.attachments.onChange.subscribe({ conversationId: id }, { onData: (event) => event.type });
// @ts-expect-error 2367: no such event
client.attachments.onChange.subscribe({ conversationId: id }, { onData: ({ data }) => data.type === "moved" });
// @ts-expect-error 18047: the attachment may be gone
client.attachments.onChange.subscribe({ conversationId: id }, { onData: ({ data }) => data.attachment.filename });
// @ts-expect-error 2769: no such callback
client.attachments.onChange.subscribe({ conversationId: id }, { onData: () => undefined, onPing: () => undefined });

// Uploads

// @ts-expect-error 2345: text is no file
client.attachments.upload.mutate("text");
// @ts-expect-error 2353: an object is no file
client.attachments.upload.mutate({ file });
// @ts-expect-error 2345: a form goes through the procedure
attachd.upload(new FormData());
// @ts-expect-error 2561: no such detail
attachd.upload(file, { conversation: id });
// @ts-expect-error 2740: the controller in the place of its signal
attachd.upload(file, { signal: new AbortController() });
// @ts-expect-error 2339: progress has no percentage
attachd.upload(file, { onProgress: ({ percent }) => console.log(percent) });
// @ts-expect-error 18048: the total may be unknown
attachd.upload(file, { onProgress: ({ loaded, total }) => console.log(loaded / total) });
// @ts-expect-error 2353: a signal is no detail of the context
uploadContext({ signal: new AbortController().signal });

// createAttachdClient

// @ts-expect-error 2345: no address
createAttachdClient({});
// @ts-expect-error 2322: no such way of subscribing
createAttachdClient({ url: "/", subscriptions: "polling" });
// @ts-expect-error 2322: a switch, not a link
createAttachdClient({ url: "/", stream: "jsonl" });
// @ts-expect-error 2353: no such option
createAttachdClient({ url: "/", batch: true });
// @ts-expect-error 2322: headers are text
createAttachdClient({ url: "/", headers: { "x-count": 7 } });
// @ts-expect-error 2339: what is beyond procedures is no router
createAttachdClient({ url: "/" }).upload.mutate(file);

// TanStack Query

// @ts-expect-error 2554: the input is missing
useQuery(trpc.attachments.list.queryOptions());
// @ts-expect-error 2532: the data may not be there yet
useQuery(trpc.attachments.list.queryOptions({ conversationId: id })).data.length;
// @ts-expect-error 2339: a mutation has no query options
useQuery(trpc.attachments.delete.queryOptions({ id }));
// @ts-expect-error 2722: a query without cursor is not infinite
useInfiniteQuery(trpc.attachments.list.infiniteQueryOptions({ conversationId: id }));
// @ts-expect-error 2339: no such cursor
trpc.attachments.page.infiniteQueryOptions({}, { getNextPageParam: (last) => last.cursor });
// @ts-expect-error 2769: a cursor is text
trpc.attachments.page.infiniteQueryOptions({}, { getNextPageParam: () => 7 });
// @ts-expect-error 2353: the variables of another mutation
useMutation(trpc.attachments.delete.mutationOptions()).mutate({ conversationId: id });
// @ts-expect-error 2551: no such member of the context
createTRPCContext<AppRouter>().useTrpc();
