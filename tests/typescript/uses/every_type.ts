// Uses of the golden module that must compile: what each Python type becomes, from a client's side. Each is one statement below a
// comment "ok: …"; test_types.py counts them. Nothing here runs.

import { createTRPCClient, httpBatchStreamLink } from "@trpc/client";
import { createAttachdClient } from "attachd-client";
import superjson from "superjson";

import type { AppRouter, Containers, Leaves, LeavesInput, NodeInput, Options, Outputs } from "../golden/router.js";

declare const leaves: Leaves;
declare const containers: Containers;
declare const options: Options;
const client = createTRPCClient<AppRouter>({ links: [httpBatchStreamLink({ url: "/", transformer: superjson })] });

// ok: what superjson carries comes as itself
export const carried: [Date, Uint8Array, URL, RegExp, Error] = [leaves.moment, leaves.raw, leaves.page, leaves.pattern, leaves.failure];

// ok: an int beyond 2**53 may be a bigint
export const huge: bigint = BigInt(leaves.huge);

// ok: a decimal is a number, and may be sent as text
export const price: [number, LeavesInput["price"]] = [leaves.price, "12.50"];

// ok: enums and literals are unions of their values
export const literals: ["red" | "deep blue", 1 | 2, "on" | "off" | 3 | true | null] = [leaves.color, leaves.level, leaves.fixed];

// ok: anything is unknown, and must be looked at
export const anything: string = typeof leaves.anything === "string" ? leaves.anything : "";

// ok: containers
export const contained: [string | null | undefined, number | undefined, [number, string], Set<string>, number | undefined] = [
  containers.nullable_names[0],
  containers.matrix[0]?.[0],
  containers.pair,
  containers.tags,
  containers.by_name["a"],
];

// ok: a dict with keys that are no strings is a map, or an empty object
export const byNumber: string | undefined = containers.by_number instanceof Map ? containers.by_number.get(1) : undefined;

// ok: keys from a union need not all be there
export const byUnit: Containers["by_unit"] = { m: 1 };

// ok: members with defaults may be left out, and come back
export const pageSize: Promise<number> = client.leaves.deep.options
  .mutate({ mustBe: "", mayBeNull: null })
  .then((answer) => answer.pageSize);

// ok: a member that may be unset is absent, or there
export const unset: string | undefined = options.unsetByDefault;

// ok: an input that may be null may be left out
export const sparse: Promise<number | undefined> = client.sparse.mutate().then((answer) => answer?.sometimes);

// ok: a recursive Struct
export const tree: NodeInput = { name: "root", children: [{ name: "leaf", children: [{ name: "leaf of the leaf" }] }] };

// ok: a tagged union is told by its tag
export const animal = client.animals.query({ kind: "dog", tricks: ["sit"] }).then((cat) => cat.type satisfies "cat");

// ok: array-like Structs and named tuples are tuples
export const arrays: Promise<[number, string]> = client.arrays.query([1, 2]).then(([[start], [, , label]]) => [start, label]);

// ok: generic Structs, each with its own argument
export const generic: [string | undefined, number | undefined] = [
  ({} as Outputs["pages"]).items[0]?.children[0]?.name,
  ({} as Outputs["pages_of_text"])[1].items[0]?.[0],
];

// ok: classes of one name stay apart
export const apart: [number, number, string] = [
  ({} as Outputs["items"])[0].scale,
  ({} as Outputs["items"])[1].price,
  ({} as Outputs["items"])[2].title,
];

// ok: members that come later
export const later: Promise<number> = client.later.query().then((answer) => answer.soon);

// ok: members that come piece by piece
export const pieces = async (): Promise<string[]> => {
  const names = [];
  for await (const node of (await client.later.query()).piece_by_piece) {
    names.push(node.name);
  }
  return names;
};

// ok: a query that streams
export const counted: Promise<AsyncIterable<number>> = client.count.query(3);

// ok: a file
export const uploaded: Promise<string> = client.upload.mutate(new Blob([]));

// ok: items of a subscription
export const ticks = client.ticks.subscribe(undefined, { onData: (tick) => console.log(tick.getTime()) });

// ok: tracked items of a subscription
export const changes = client.changes.subscribe("mine", { onData: ({ id, data }) => console.log(id, data.children) });

// ok: the ready client with a router of other procedures
export const ready: Promise<Date> = createAttachdClient<AppRouter>({ url: "/" })
  .leaves.get.query({} as LeavesInput)
  .then(({ moment }) => moment);
