// bun trpc_bun.mjs PORT DATABASE — @trpc/server's fetch adapter on Bun.serve with bun:sqlite.
import { Database } from 'bun:sqlite';
import { fetchRequestHandler } from '@trpc/server/adapters/fetch';
import { createApp } from './router.mjs';

const [port, path] = process.argv.slice(2);
const database = new Database(path, { readonly: true });
const { router, sessionOf } = createApp((sql) => database.prepare(sql));
Bun.serve({
  port: Number(port),
  hostname: '127.0.0.1',
  fetch: (req) =>
    fetchRequestHandler({
      endpoint: '/api/trpc',
      req,
      router,
      createContext: () => ({ session: sessionOf(req.headers.get('cookie')) }),
    }),
});
