/** Thread of addon-threads.test.ts: makes rings and polls, and closes none of them properly. */
import { RingOut } from '../../src/native/addon.js';
import { ownMemoryMissing, TestRing } from '../../testing/native-ring.js';

const first = TestRing.mapped();
TestRing.mapped();
if (ownMemoryMissing() === false) TestRing.inOwnMemory();
const { addon } = first;

// The number of a closed ring, used again, must not make the thread forget the ring that has its place now,
// which is this one unless another thread was quicker.
const setup = (): number => addon.ringSetup(8, -1, 0, 0, 0, new Int32Array(RingOut.WORDS));
const closed = setup();
addon.ringClose(closed);
const successor = setup();
addon.ringClose(closed);
addon.ringAttach(closed, 0);
if (addon.ringEnter(successor, 0, 0, 0) !== 0) throw new Error('not open');
if (first.carryOut({ opcode: 0 }) !== 0) throw new Error('no result');
first.close();

for (let at = 0; at < 3; at++) {
  const eventfd = addon.eventfd();
  const poll = addon.pollOpen(eventfd, 1, () => undefined);
  addon.pollSet(poll, 1, 0);
  addon.eventfdSignal(eventfd);
  if (at === 1) addon.pollClose(poll); // and the thread ends before the loop turns
}
