/** Relations past the page cache: `debugIoDirect`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { Backend } from '../../../src/instance/backend.js';
import { isFine, pageVerdict } from '../../../src/page/page-verdict.js';
import { directIoMissing } from '../../../testing/direct-io.js';
import { forEachMethod, openRig, type Rig } from '../../../testing/instances.js';
import { makePage } from '../../../testing/pages.js';
import { stampOf } from '../../../testing/relations.js';
import { pullAll, range, rawStreamOver } from '../../../testing/streams.js';

const BLOCKS = 100;
const MARK = 4000;

describe('relations past the page cache', { skip: directIoMissing() }, () => {
  forEachMethod((ioMethod) => {
    let rig: Rig;
    let backend: Backend;
    before(async () => {
      rig = await openRig({ ioMethod, debugIoDirect: true, sharedBuffers: '256kB' });
      backend = rig.backend;
    });
    after(async () => rig.close());

    it('are read, changed, extended and synchronized', async () => {
      const relation = backend.openRelation(rig.data.path, rig.data.write(1, BLOCKS));
      for await (const buffer of backend.readStream(relation)) {
        assert.equal(stampOf(buffer.page).block, buffer.block);
        if (buffer.block % 3 === 0) await buffer.change((page) => page.fill(buffer.block, MARK, MARK + 8));
      }
      for (const buffer of await backend.writes.extendRelation(relation, 3)) {
        await buffer.change((page) => page.set(makePage(buffer.block)));
        buffer.release();
      }
      await backend.writes.checkpointBuffers();
      const file = readFileSync(rig.data.file(1));
      assert.equal(file.length, (BLOCKS + 3) * 8192);
      for (let block = 0; block < BLOCKS + 3; block++) {
        const page = file.subarray(block * 8192, (block + 1) * 8192);
        assert.ok(isFine(pageVerdict(page, block), 0), `block ${block}`);
        if (block < BLOCKS && block % 3 === 0) assert.equal(page[MARK], block);
      }
    });

    it('D-112: are read without advice to the kernel', async () => {
      const relation = backend.openRelation(rig.data.path, rig.data.write(2, BLOCKS));
      const jumps = range(0, BLOCKS).map((at) => (at * 37) % BLOCKS);
      const stream = rawStreamOver(backend, relation, jumps);
      assert.deepEqual(await pullAll(backend, stream), jumps);
      assert.equal(stream.stats.advices, 0);
    });
  });
});
