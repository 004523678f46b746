/** Thread of addon-threads.test.ts: makes rings and polls, and closes none of them properly. */
import { ownMemoryMissing, TestRing } from '../../testing/native-ring.js';

const rings = [TestRing.mapped(), TestRing.mapped(), TestRing.mapped()];
if (ownMemoryMissing() === false) rings.push(TestRing.inOwnMemory());
const [first, second] = rings;
if (first === undefined || second === undefined) throw new Error('no rings');
const { addon } = first;

// The number of a closed ring, used again, must not make the thread forget the ring that has its place now.
first.close();
const successor = TestRing.mapped();
addon.ringClose(first.id);
addon.ringAttach(first.id, 0);
if (successor.carryOut({ opcode: 0 }) !== 0 || second.carryOut({ opcode: 0 }) !== 0)
  throw new Error('no result');

for (let at = 0; at < 3; at++) {
  const eventfd = addon.eventfd();
  const poll = addon.pollOpen(eventfd, 1, () => undefined);
  addon.pollSet(poll, 1, 0);
  addon.eventfdSignal(eventfd);
  if (at === 1) addon.pollClose(poll); // and the thread ends before the loop turns
}
