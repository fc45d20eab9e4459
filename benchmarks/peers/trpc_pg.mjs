// node trpc_pg.mjs PORT URL — @trpc/server's standalone adapter with pg: its pool, and named statements, which it prepares once on
// each connection.
import { createHTTPServer } from '@trpc/server/adapters/standalone';
import pg from 'pg';
import { createApp } from './router.mjs';

const [port, connectionString] = process.argv.slice(2);
pg.types.setTypeParser(pg.types.builtins.INT8, Number); // sizes are far below 2 ** 53
const pool = new pg.Pool({ connectionString, max: 10 });

let statements = 0;
function prepare(sql) {
  let parameters = 0;
  const name = `s${(statements += 1)}`;
  const text = sql.replaceAll('?', () => `$${(parameters += 1)}`);
  const all = (...values) => pool.query({ name, text, values }).then((result) => result.rows);
  return { all, get: (...values) => all(...values).then((rows) => rows[0]) };
}

const { router, sessionOf } = createApp(prepare, (found, use) => found.then(use));
const createContext = async ({ req }) => ({ session: await sessionOf(req.headers.cookie) });
createHTTPServer({ router, basePath: '/api/trpc/', createContext }).listen(Number(port), '127.0.0.1');
