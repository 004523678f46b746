/** Thread of addon-threads.test.ts: submits reads to a ring of another thread, and ends in one of a few ways. */
import { parentPort, workerData } from 'node:worker_threads';
import { Flag, Opcode, TestRing, type RingHandle } from '../../testing/native-ring.js';

export interface ThreadInput {
  ring: RingHandle | null;
  /** Open in the whole process; read `reads` times `length` bytes. */
  fd: number;
  reads: number;
  length: number;
  ends: 'returns' | 'exits' | 'throws' | 'is terminated' | 'is terminated in a callback';
  /** An eventfd that a poll of this thread keeps calling back for; it has it until it ends. */
  polled: number;
  /** The other thread's receiver of exit notices. */
  noticed: number;
}

const input = workerData as ThreadInput;
const ring = input.ring === null ? TestRing.mapped() : new TestRing(input.ring);
const { addon } = ring;
addon.ringAttach(ring.id, 1);

const spin = (): void => {
  for (;;);
};
const calls = (): void => {
  addon.eventfdSignal(input.polled);
  if (input.ends === 'is terminated in a callback') spin();
};
const poll = addon.pollOpen(input.polled, 1, calls);
if (addon.pollSet(poll, 1, 0) < 0) throw new Error('no poll');
if (input.ring !== null) addon.exitNotice(ring.memory, ring.noticeOffset, 1, input.noticed);

for (let at = 0; at < input.reads; at++) {
  ring.prepare({
    opcode: Opcode.READ,
    flags: Flag.ASYNC,
    fd: input.fd,
    address: ring.dataAddress + at * input.length,
    length: input.length,
    position: at * input.length,
    userData: at,
  });
}
if (ring.enter(input.reads) !== input.reads) throw new Error('not all were taken');
parentPort?.postMessage('submitted');
addon.eventfdSignal(input.polled);

if (input.ends === 'exits') process.exit(0);
if (input.ends === 'throws') throw new Error('as it was told');
if (input.ends === 'is terminated') spin();
if (input.ends === 'is terminated in a callback') addon.pollSet(poll, 1, 1);
