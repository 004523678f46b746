/**
 * A bitmap scan: fetches the tuples that something else has found, each block once and in ascending order, with
 * reads ahead over the gaps between them.
 *
 *   psql -Atc "SELECT ctid FROM orders WHERE customer = 7" | node examples/bitmap-scan.js PGDATA base/5/16384
 *
 * A ctid like (12,3) stands for that tuple, a number like 12 for all tuples of the block: PostgreSQL's exact and
 * lossy pages of a bitmap. Prints the live ones with their lengths.
 */
import { readFileSync } from 'node:fs';
import { bitmapBlocks, Fork } from 'pgaio';
import { HeapPage, LP_NORMAL, main, UsageError } from './heap.js';

const usage = `node bitmap-scan.js DATA_DIRECTORY FILE_PATH [--method METHOD] [--no-checksums] [CTID|BLOCK…]
       Without a CTID or BLOCK they are read from standard input, one a line.`;

/** From block numbers to the wanted tuples of the block; null: all of them. */
function parseBitmap(items) {
  const bitmap = new Map();
  for (const item of items) {
    const parts = /^(?:\((\d+),(\d+)\)|(\d+))$/.exec(item);
    if (parts === null) throw new UsageError(`"${item}" is neither a ctid like (12,3) nor a block number`);
    const block = Number(parts[1] ?? parts[3]);
    if (parts[3] !== undefined) bitmap.set(block, null);
    else if (!bitmap.has(block)) bitmap.set(block, new Set([Number(parts[2])]));
    else bitmap.get(block)?.add(Number(parts[2]));
  }
  return bitmap;
}

await main(usage, async ({ backend, relation, log, rest, streamOptions }) => {
  const lines = rest.length > 0 ? rest : readFileSync(0, 'utf8').split('\n');
  const bitmap = parseBitmap(lines.filter((line) => line !== ''));
  const blocks = Uint32Array.from(bitmap.keys()).sort();
  const end = relation.blockCount(Fork.MAIN);
  if (blocks.some((block) => block >= end)) {
    throw new Error(`block ${blocks.at(-1)} is beyond the table's end: it has ${end} blocks`);
  }

  let tuples = 0;
  let bytes = 0;
  const stream = backend.readStream(relation, { ...streamOptions, nextBlock: bitmapBlocks(blocks) });
  for await (const { block, page } of stream) {
    const heap = new HeapPage(page, log);
    const wanted = bitmap.get(block) ?? Array.from({ length: heap.lines }, (_, at) => at + 1);
    for (const number of [...wanted].sort((a, b) => a - b)) {
      const line = heap.line(number);
      // What the list names may be gone by now: PostgreSQL's scan looks at each tuple again, too.
      if (line.flags !== LP_NORMAL || heap.state(line) !== 'live') continue;
      console.log(`(${block},${number})\t${line.length} bytes`);
      tuples++;
      bytes += line.length;
    }
  }
  console.log(`${tuples} live tuples, ${bytes} bytes, in ${blocks.length} of ${end} blocks`);
});
