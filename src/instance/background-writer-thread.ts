/** Entry of the background writer: see buffer/background-writer.ts. */
import { workerData } from 'node:worker_threads';
import { BackgroundWriter } from '../buffer/background-writer.js';
import { workAtIntervals } from './auxiliary-work.js';
import type { InstanceHandle } from './shared-state.js';

const { handle } = workerData as { handle: InstanceHandle };
const { bgwriterDelay, bgwriterLruMaxpages } = handle.settings;

await workAtIntervals(handle, 'background writer', ({ buffers, aio }) => {
  const writer = new BackgroundWriter(buffers, bgwriterLruMaxpages);
  return {
    name: 'background writer',
    interval: bgwriterDelay,
    round: async () => {
      const due = writer.due();
      if (due.length > 0) await aio.waits.until(writer.cleaning(due));
    },
  };
});
