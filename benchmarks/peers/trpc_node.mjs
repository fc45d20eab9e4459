// node trpc_node.mjs PORT DATABASE — @trpc/server's standalone adapter with better-sqlite3.
import { createHTTPServer } from '@trpc/server/adapters/standalone';
import Database from 'better-sqlite3';
import { createApp } from './router.mjs';

const [port, path] = process.argv.slice(2);
const database = new Database(path, { readonly: true, fileMustExist: true });
const { router, sessionOf } = createApp((sql) => database.prepare(sql));
createHTTPServer({
  router,
  basePath: '/api/trpc/',
  createContext: ({ req }) => ({ session: sessionOf(req.headers.cookie) }),
}).listen(Number(port), '127.0.0.1');
