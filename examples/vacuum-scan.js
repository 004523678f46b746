/**
 * What VACUUM would have to do: reads the blocks that it would read, skipping by the visibility map as it does, and
 * counts the dead tuples on them. Nothing is changed.
 *
 *   CHECKPOINT;
 *   node examples/vacuum-scan.js /var/lib/postgresql/18/main base/5/16384
 */
import { Fork, VacuumBlocks } from 'pgaio';
import { HeapPage, LP_DEAD, LP_NORMAL, main } from './heap.js';

const usage = 'node vacuum-scan.js DATA_DIRECTORY FILE_PATH [--method METHOD] [--no-checksums]';

await main(usage, async ({ backend, relation, log, streamOptions }) => {
  const end = relation.blockCount(Fork.MAIN);
  // Two bits a block, in a fork of the relation's own. What they say is fixed while nobody writes.
  const map = await backend.readVisibilityMap(relation, streamOptions);
  const blocks = new VacuumBlocks(map, end);

  const count = { live: 0, dead: 0, unknown: 0 };
  const stream = backend.readStream(relation, { ...streamOptions, nextBlock: blocks.next });
  for await (const { page } of stream) {
    const heap = new HeapPage(page, log);
    for (let number = 1; number <= heap.lines; number++) {
      const line = heap.line(number);
      // A dead line pointer is what is left of a tuple until the indexes forget it.
      if (line.flags === LP_DEAD) count.dead++;
      if (line.flags === LP_NORMAL) count[heap.state(line)]++;
    }
  }

  const { allVisible, allFrozen } = map.count(end);
  console.log(`${end} blocks, ${allVisible} all-visible, ${allFrozen} all-frozen`);
  console.log(`${end - blocks.skipped} scanned, ${blocks.skipped} skipped`);
  console.log(`${count.dead} dead and ${count.live} live tuples on the blocks scanned`);
  if (count.unknown > 0) console.log(`${count.unknown} tuples cannot be decided without pg_multixact`);
});
