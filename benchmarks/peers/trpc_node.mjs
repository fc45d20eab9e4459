// node trpc_node.mjs PORT DATABASE — @trpc/server's standalone adapter with better-sqlite3, and its adapter for ws.
import { createHTTPServer } from '@trpc/server/adapters/standalone';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import Database from 'better-sqlite3';
import { WebSocketServer } from 'ws';
import { createApp } from './router.mjs';

const [port, path] = process.argv.slice(2);
const database = new Database(path, { readonly: true, fileMustExist: true });
const { router, sessionOf } = createApp((sql) => database.prepare(sql));
const createContext = ({ req }) => ({ session: sessionOf(req.headers.cookie) });
const server = createHTTPServer({ router, basePath: '/api/trpc/', createContext });
applyWSSHandler({ wss: new WebSocketServer({ server }), router, createContext });
server.listen(Number(port), '127.0.0.1');
