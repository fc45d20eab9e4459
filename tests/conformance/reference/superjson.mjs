// One JSON line in, one out: the payload read and written again by the real superjson, {"written": …}, or {"error": …}.
import { createInterface } from 'node:readline';
import superjson from 'superjson';

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { written: superjson.serialize(superjson.deserialize(JSON.parse(line))) };
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify(answer));
}
