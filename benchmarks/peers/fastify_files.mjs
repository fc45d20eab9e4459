// node fastify_files.mjs PORT UPLOADS DOWNLOADS [fsync|row] — Fastify with @fastify/multipart and @fastify/static.
// An upload is streamed once through SHA-256 into a file of its own, as the plugin's page recommends (of three ways to write
// that down the fastest here, 2026-11). With `row` it is also recorded in SQLite with the journal and the durability of
// attachd, with `fsync` the file is made durable before the answer.
import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import multipart from '@fastify/multipart';
import statics from '@fastify/static';
import Database from 'better-sqlite3';
import Fastify from 'fastify';

const [port, uploads, downloads, extra] = process.argv.slice(2);
const record = extra === 'row' ? openTable(`${uploads}.db`) : () => undefined;
const app = Fastify();
await app.register(multipart, { limits: { fileSize: 25 * 1024 * 1024, files: 1 } });
await app.register(statics, { root: downloads, prefix: '/files/' });

app.post('/api/upload', async (request) => {
  const part = await request.file();
  const id = randomUUID();
  const hash = createHash('sha256');
  const target = createWriteStream(join(uploads, id), { flush: extra === 'fsync' });
  let size = 0;
  await pipeline(
    part.file,
    async function* (chunks) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    },
    target,
  );
  const sha256 = hash.digest();
  record(id, part.filename, part.mimetype, size, sha256, new Date().toISOString());
  return { id, filename: part.filename, content_type: part.mimetype, size, sha256: sha256.toString('hex') };
});

function openTable(path) {
  const database = new Database(path);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec(
    'CREATE TABLE attachments (id TEXT PRIMARY KEY, filename TEXT, content_type TEXT, size INTEGER, sha256 BLOB, created_at TEXT)',
  );
  const insert = database.prepare('INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?)');
  return (...values) => insert.run(...values);
}

await app.listen({ port: Number(port), host: '127.0.0.1' });
