/**
 * A sequential scan: what `SELECT count(*)` counts in a table that nobody writes to.
 *
 *   SELECT pg_relation_filepath('orders');          →  base/5/16384
 *   CHECKPOINT;
 *   node examples/count-tuples.js /var/lib/postgresql/18/main base/5/16384
 */
import { HeapPage, LP_NORMAL, main } from './heap.js';

const usage = 'node count-tuples.js DATA_DIRECTORY FILE_PATH [--method METHOD] [--no-checksums]';

await main(usage, async ({ backend, relation, log, streamOptions }) => {
  const count = { blocks: 0, live: 0, dead: 0, unknown: 0 };
  // Without `nextBlock` a stream reads the whole main fork. The page is ours until the loop asks for the next.
  for await (const { page } of backend.readStream(relation, streamOptions)) {
    count.blocks++;
    const heap = new HeapPage(page, log);
    for (let number = 1; number <= heap.lines; number++) {
      const line = heap.line(number);
      if (line.flags === LP_NORMAL) count[heap.state(line)]++;
    }
  }
  console.log(`${count.live} live tuples in ${count.blocks} blocks`);
  if (count.dead > 0) console.log(`${count.dead} dead tuples`);
  // Rows that several transactions had locked when one of them updated or deleted the row.
  if (count.unknown > 0) console.log(`${count.unknown} tuples cannot be decided without pg_multixact`);
});
