// A small @trpc/server with attachd's procedures over rows in memory, and with those of launcher.py.
// Standard input gives one JSON line {sessions, keys, rows, config}; standard output then says the port. The end of input ends it.
import { createInterface } from 'node:readline';
import { initTRPC, TRPCError } from '@trpc/server';
import { createHTTPServer } from '@trpc/server/adapters/standalone';
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import superjson from 'superjson';
import { WebSocketServer } from 'ws';
import { z } from 'zod';
import { streamRouter, subscriptionRouter } from './streaming.mjs';

const lines = createInterface({ input: process.stdin });
const { sessions, keys, rows, config } = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
process.stdin.on('close', () => process.exit(0));
// Promises of an answer that may not be streamed are refused unread; Node would end when one of them is rejected.
process.on('unhandledRejection', () => {});

const t = initTRPC.context().create({ transformer: superjson, isDev: false, ...config });
// The order of rooms in attachd: who asks, then what is asked for.
const member = t.procedure.use(({ ctx, next }) => {
  if (!ctx.principal) {
    throw new TRPCError({ code: 'UNAUTHORIZED', message: 'authentication required: send the session cookie or an API key' });
  }
  return next({ ctx: { principal: ctx.principal } });
});
// Any version and variant, as attachd takes them; z.uuid() takes only those of RFC 9562.
const id = z.guid();

function visible(principal, asked) {
  const row = rows.find((row) => row.id === asked.toLowerCase());
  if (!row || row.organization_id !== principal.organization_id || (row.deleted_at && principal.role !== 'admin')) {
    throw new TRPCError({ code: 'NOT_FOUND', message: `attachment "${asked}" not found` });
  }
  return row;
}

const attachments = t.router({
  list: member.input(z.object({ conversationId: id })).query(({ ctx, input }) =>
    rows
      .filter((row) => row.conversation_id === input.conversationId.toLowerCase() && !row.deleted_at)
      .filter((row) => row.organization_id === ctx.principal.organization_id)
      .sort((a, b) => (a.created_at + a.id < b.created_at + b.id ? -1 : 1))
      .map(({ id, conversation_id, filename, content_type, size, created_at }) => ({
        id, conversation_id, filename, content_type, size, created_at,
      })),
  ),
  get: member.input(z.object({ id })).query(({ ctx, input }) => {
    const { owner_id, ...row } = visible(ctx.principal, input.id);
    return row;
  }),
  delete: member.input(z.object({ id })).mutation(({ ctx, input }) => {
    const row = visible(ctx.principal, input.id);
    if (row.deleted_at) {
      throw new TRPCError({ code: 'NOT_FOUND', message: `attachment "${input.id}" not found` });
    }
    if (ctx.principal.role !== 'admin' && row.owner_id !== ctx.principal.user_id) {
      throw new TRPCError({ code: 'FORBIDDEN', message: 'only the owner of an attachment or an admin may delete it' });
    }
    row.deleted_at = new Date().toISOString();
    return { success: true };
  }),
});

const typed = z.object({
  when: z.date(),
  big: z.bigint(),
  tags: z.set(z.string()),
  counts: z.map(z.number(), z.string()),
  note: z.string().optional(),
});
const echo = t.router({
  query: t.procedure.input(z.unknown()).query(({ input }) => input),
  mutation: t.procedure.input(z.unknown()).mutation(({ input }) => input),
  typed: t.procedure.input(typed).query(({ input }) => input),
  nothing: t.procedure.query(() => 'nothing'),
});

const failures = Object.keys(TRPC_ERROR_CODES_BY_KEY).map((code) => [
  code,
  t.procedure.query(() => {
    throw new TRPCError({ code, message: `failed with ${code}` });
  }),
]);
const crash = t.procedure.query(() => {
  throw new Error('a detail that is nobody\'s business');
});

function createContext({ req, info }) {
  const authorization = req.headers.authorization ?? info.connectionParams?.authorization;
  if (authorization && /^bearer /i.test(authorization)) {
    return { principal: keys[authorization.slice(7).trim()] };
  }
  const cookie = /(?:^|;)\s*session=([^;]*)/.exec(req.headers.cookie ?? '');
  return { principal: cookie ? sessions[cookie[1]] : undefined };
}

const router = t.router({
  attachments,
  echo,
  fail: t.router({ ...Object.fromEntries(failures), crash }),
  stream: streamRouter(t, member),
  sub: subscriptionRouter(t, member),
});
const options = { router, maxBatchSize: 100, createContext };
const server = createHTTPServer({
  ...options,
  basePath: '/api/trpc/',
  allowMethodOverride: true,
  maxBodySize: 1024 * 1024,
});
applyWSSHandler({ ...options, wss: new WebSocketServer({ server }) });
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
