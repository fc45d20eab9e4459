// The procedures `stream.*` and `sub.*` of streaming.py and subscriptions.py.
import { TRPCError, tracked } from '@trpc/server';
import { z } from 'zod';

const STEP_MS = 20;
const MOMENT = new Date('2024-01-15T10:30:00.000Z');
const LAST_ITEM = 4;

const to = z.object({ to: z.number().int() });
const rich = () => ({ when: MOMENT, big: 2n ** 60n, tags: new Set(['a']), counts: new Map([[1, 'one']]) });
const conflict = () => new TRPCError({ code: 'CONFLICT', message: 'failed with CONFLICT' });
const notFound = () => new TRPCError({ code: 'NOT_FOUND', message: 'failed with NOT_FOUND' });
const unavailable = () => new TRPCError({ code: 'SERVICE_UNAVAILABLE', message: 'failed with SERVICE_UNAVAILABLE' });
const crash = () => new Error('a detail that is nobody\'s business');
const VALUES = [null, undefined, MOMENT, 2n ** 60n, new Set(['a']), new Map([[1, 'one']]), 'é\n\u2028', [], {}, [null], rich()];

const later = (value, steps = 1) => new Promise((resolve) => setTimeout(resolve, STEP_MS * steps, value));
const failing = async (error, steps = 1) => {
  throw await later(error, steps);
};

async function* count(to) {
  for (let number = 0; number < to; number += 1) {
    yield await later(number);
  }
}

async function* values() {
  for (const value of VALUES) {
    yield await later(value);
  }
}

// An async generator that yields the first items and then fails.
const failingAfter = (items, error) =>
  async function* () {
    yield* items;
    throw items.length ? await later(error()) : error();
  };

export function streamRouter(t, member) {
  return t.router({
    deferred: t.procedure.query(() => ({ now: 1, later: later(2) })),
    deferredMutation: t.procedure.input(to).mutation(({ input }) => ({ now: input.to, later: later(input.to + 1) })),
    nested: t.procedure.query(() => ({ outer: later({}).then(() => ({ inner: later('deep') })) })),
    several: t.procedure.query(() => ({ fast: later('fast'), failing: failing(conflict(), 3), slow: later('slow', 5) })),
    rejected: t.procedure.query(() => ({
      fast: later('fast'), failing: failing(conflict(), 3), slow: failing(notFound(), 5),
    })),
    crashed: t.procedure.query(() => ({ fast: later('fast'), failing: failing(crash(), 3), slow: later('slow', 5) })),
    rich: t.procedure.query(() => ({
      when: MOMENT, rich: later(rich()), tags: later(new Set(['a']), 3), nothing: later(null, 5), undefined: later(undefined, 7),
    })),
    members: t.procedure.input(to).query(({ input }) => ({ total: input.to, items: count(input.to) })),
    both: t.procedure.query(() => ({ left: count(2), right: later('right', 5) })),
    promised: t.procedure.query(() => ({ later: later({}).then(() => ({ total: 2, items: count(2) })) })),
    private: member.query(() => ({ now: 1, later: later(2) })),
    count: t.procedure.input(to).query(({ input }) => count(input.to)),
    work: t.procedure.input(to).mutation(async function* ({ input }) {
      for await (const number of count(input.to)) {
        yield { done: number + 1, of: input.to };
      }
    }),
    fails: t.procedure.query(failingAfter([0], conflict)),
    failsFirst: t.procedure.query(failingAfter([], conflict)),
    crashes: t.procedure.query(failingAfter([0], crash)),
    values: t.procedure.query(values),
    numbered: t.procedure.query(async function* () {
      for (let index = 0; index < 2; index += 1) {
        yield { index, later: later(index * 10) };
        await later(null, 3);
      }
    }),
  });
}

export function subscriptionRouter(t, member) {
  return t.router({
    count: t.procedure.input(to).subscription(({ input }) => count(input.to)),
    empty: t.procedure.subscription(async function* () {}),
    echo: t.procedure.input(z.unknown()).subscription(async function* ({ input }) {
      yield input;
    }),
    values: t.procedure.subscription(values),
    who: t.procedure.subscription(async function* ({ ctx }) {
      yield { role: ctx.principal?.role ?? '' };
    }),
    private: member.subscription(async function* ({ ctx }) {
      yield { role: ctx.principal.role };
    }),
    tracked: t.procedure.input(z.object({ lastEventId: z.string().nullish() })).subscription(async function* ({ input }) {
      for (let index = Number(input.lastEventId ?? 0) + 1; index < LAST_ITEM; index += 1) {
        yield tracked(String(index), { index, when: MOMENT });
        await later(null);
      }
    }),
    trackedRich: t.procedure.subscription(async function* () {
      yield tracked('é id:1', rich());
    }),
    trackedFails: t.procedure.subscription(failingAfter([tracked('1', 1)], conflict)),
    forever: t.procedure.subscription(async function* ({ signal }) {
      yield 0;
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    }),
    fails: t.procedure.subscription(failingAfter([0], conflict)),
    failsFirst: t.procedure.subscription(failingAfter([], conflict)),
    crashes: t.procedure.subscription(failingAfter([0], crash)),
    crashesFirst: t.procedure.subscription(failingAfter([], crash)),
    unavailable: t.procedure.subscription(failingAfter([0], unavailable)),
  });
}
