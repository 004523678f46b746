/**
 * Where a backend's thread may be when it is ended while it puts I/O on its ring; see casualty-scenes.ts. Each
 * has the same two reads in one submission, of blocks 3 to 6 and 9 to 12.
 */
import { Ring } from '../src/aio/method/io-uring/ring.js';
import { holdAt, type Scene, type Stage } from './casualty-scenes.js';

function submitTwo({ backend, blocks }: Stage): void {
  backend.aio.batch(backend.rootScope, () => {
    blocks.start(3, 4);
    blocks.start(9, 4);
  });
}

function heldAt(method: keyof Ring, nth = 1): Scene {
  return (stage) => {
    holdAt(stage, Ring.prototype, method, nth);
    submitTwo(stage);
  };
}

export const ringScenes: Readonly<Record<string, Scene>> = {
  'before it writes an entry': heldAt('push'),
  'with half of a submission written': heldAt('push', 2),
  'before the kernel can see its entries': heldAt('publish'),
  'before the kernel is told of its entries': heldAt('submit'),
  'after the kernel took one of its two entries': (stage) => {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the ring as its `this`
    const { submit } = Ring.prototype;
    Ring.prototype.submit = function (this: Ring): number {
      return submit.call(this, 1);
    };
    holdAt(stage, Ring.prototype, 'submit', 2);
    submitTwo(stage);
  },
};
