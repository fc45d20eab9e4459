// node fastify_files.mjs PORT UPLOADS DOWNLOADS [fsync] — Fastify with @fastify/multipart and @fastify/static.
// An upload is streamed once through SHA-256 into a file of its own, as both plugins' pages recommend.
import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import multipart from '@fastify/multipart';
import statics from '@fastify/static';
import Fastify from 'fastify';

const [port, uploads, downloads, fsync] = process.argv.slice(2);
const app = Fastify();
await app.register(multipart, { limits: { fileSize: 25 * 1024 * 1024, files: 1 } });
await app.register(statics, { root: downloads, prefix: '/files/' });

app.post('/api/upload', async (request) => {
  const part = await request.file();
  const id = randomUUID();
  const hash = createHash('sha256');
  const target = createWriteStream(join(uploads, id), { flush: fsync === 'fsync' });
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
  return { id, filename: part.filename, content_type: part.mimetype, size, sha256: hash.digest('hex') };
});

await app.listen({ port: Number(port), host: '127.0.0.1' });
