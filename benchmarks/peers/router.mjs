// The procedures that both tRPC peers serve: the application a careful team would write on @trpc/server. The look-ups do
// what attachd does: a session by the SHA-256 of its token, kept in memory for 10 s, and rows of the caller's organization.
import { createHash } from 'node:crypto';
import { initTRPC, tracked, TRPCError } from '@trpc/server';
import superjson from 'superjson';
import { z } from 'zod';

const SESSION = 'SELECT user_id, organization_id, role, expires_at FROM sessions WHERE token_hash = ?';
const GET =
  'SELECT id, conversation_id, organization_id, filename, content_type, size, storage_path, created_at, deleted_at' +
  ' FROM attachments WHERE id = ?';
const LIST =
  'SELECT id, conversation_id, filename, content_type, size, created_at FROM attachments' +
  ' WHERE conversation_id = ? AND organization_id = ? AND deleted_at IS NULL ORDER BY created_at, id';
const CACHE_MS = 10_000; // attachd's default of auth.session_cache_seconds

/**
 * `prepare(sql)` gives a statement with get() and all(). What these give is passed to `then`: better-sqlite3 and bun:sqlite agree
 * on rows at once, pg gives promises of them.
 */
export function createApp(prepare, then = (found, use) => use(found)) {
  const sessionByHash = prepare(SESSION);
  const attachmentById = prepare(GET);
  const attachmentsOf = prepare(LIST);
  const sessions = new Map();

  function sessionOf(cookies) {
    const token = /(?:^|; *)session=([^;]+)/.exec(cookies ?? '')?.[1];
    if (!token) return null;
    const known = sessions.get(token);
    if (known && known.until > Date.now()) return known.session;
    return then(sessionByHash.get(createHash('sha256').update(token).digest()), (session) => {
      if (!session || session.expires_at <= new Date().toISOString()) return null;
      sessions.set(token, { session, until: Date.now() + CACHE_MS });
      return session;
    });
  }

  const t = initTRPC.context().create({ transformer: superjson, isDev: false });
  const authed = t.procedure.use(({ ctx, next }) => {
    if (!ctx.session) throw new TRPCError({ code: 'UNAUTHORIZED' });
    return next({ ctx: { session: ctx.session } });
  });
  const router = t.router({
    attachments: t.router({
      get: authed.input(z.object({ id: z.guid() })).query(({ input, ctx }) =>
        then(attachmentById.get(input.id), (row) => {
          if (!row || row.deleted_at || row.organization_id !== ctx.session.organization_id) {
            throw new TRPCError({ code: 'NOT_FOUND', message: `attachment ${input.id} not found` });
          }
          const { deleted_at: _, ...attachment } = row;
          return attachment;
        }),
      ),
      list: authed
        .input(z.object({ conversationId: z.guid() }))
        .query(({ input, ctx }) => attachmentsOf.all(input.conversationId, ctx.session.organization_id)),
    }),
    ticks: t.procedure.subscription(ticks),
  });
  return { router, sessionOf };
}

// The next event comes when every subscriber has taken the last; as in ticks.py.
let waiting = [];
let subscribers = 0;
let number = 0;

async function* ticks() {
  subscribers += 1;
  try {
    while (true) {
      const taken = new Promise((resolve) => waiting.push(resolve));
      if (waiting.length >= subscribers) publish();
      const event = await taken;
      yield tracked(event.id, event.change);
    }
  } finally {
    subscribers -= 1;
  }
}

function publish() {
  number += 1;
  const at = '2026-11-22T10:00:00.000Z';
  const id = '01a20100-0000-7000-8000-000000000001';
  const conversation_id = '01a20100-0000-7000-8000-000000000002';
  const attachment = {
    id, conversation_id, filename: 'screenshot.pdf', content_type: 'application/pdf', size: 1024, created_at: at,
  };
  const event = { id: String(number), change: { type: 'created', id, conversation_id, at, attachment } };
  const taking = waiting;
  waiting = [];
  for (const resolve of taking) resolve(event);
}
