/** Rows D-106, D-109, D-110, D-114, D-115 by chance: streams over tiny pools against a model. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { forEachVariant, withRig } from '../../../testing/instances.js';
import { StreamModel, streamPlans } from '../../../testing/stream-model.js';

const BLOCKS = 80;
/** The least that a pool can have, and one that keeps the whole relation. */
const POOLS = [16, 100];

forEachVariant((variant) => {
  it('D-106, D-109, D-110, D-114, D-115: any blocks, pauses, resets and early ends, over any pool', async () => {
    for (const poolBlocks of POOLS) {
      const options = { ...variant, sharedBuffers: poolBlocks * 8192, ioCombineLimit: '32kB' };
      await withRig(options, async ({ backend, data }) => {
        const relation = backend.openRelation(data.path, data.write(1, BLOCKS));
        await fc.assert(
          fc.asyncProperty(streamPlans(BLOCKS), async (plan) => {
            await new StreamModel(backend, relation, BLOCKS, plan).run();
          }),
          { numRuns: 30 },
        );
        assert.equal(backend.buffers.pool.pins.buffersPinned, 0);
      });
    }
  });
});
