/** What is left of a thread that ends with polls open and I/O in flight; and what rings leave behind. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  fsyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  addonMissing,
  errnoName,
  ownMemoryMissing,
  ringsMissing,
  TestRing,
  theAddon,
} from '../../testing/native-ring.js';
import { runProgram } from '../../testing/program.js';
import { untilTrue } from '../../testing/turns.js';
import type { ThreadInput } from './addon-thread.js';

const ROUNDS = 4;
const READS = 32;
const LENGTH = 65536;
/** Threads that come and go meanwhile: one that nothing holds would have ended long before. */
const OTHERS = 3;
/** The system call's number, on every platform of ours. */
const IO_URING_ENTER = 426;

const directory = mkdtempSync(join(tmpdir(), 'pgaio-addon-'));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'cold');
const content = new Uint8Array(READS * LENGTH);
for (let at = 0; at < content.length; at++) content[at] = (at * 7 + (at >>> 13)) & 0xff;
writeFileSync(path, content);
makeCold();

/** The file's pages leave the kernel's cache, as far as it likes. */
function makeCold(): void {
  if (addonMissing() !== false) return;
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  theAddon().fadvise(fd, 0, 0, 4 /* POSIX_FADV_DONTNEED */);
  closeSync(fd);
}

function directMissing(): string | false {
  const missing = ownMemoryMissing();
  if (missing !== false) return missing;
  const fd = theAddon().open(path, constants.O_RDONLY | constants.O_DIRECT, 0);
  if (fd < 0) return `no O_DIRECT in ${directory} (${errnoName(fd)})`;
  theAddon().close(fd);
  return false;
}

type Ends = ThreadInput['ends'];

const endings: Ends[] = ['returns', 'exits', 'throws', 'is terminated', 'is terminated in a callback'];

/** Starts the thread and resolves when it has ended as it should. */
async function endThread(input: ThreadInput): Promise<void> {
  const thread = new Worker(new URL('./addon-thread.js', import.meta.url), { workerData: input });
  const failed: Error[] = [];
  thread.on('error', (error: Error) => failed.push(error));
  thread.once('message', () => {
    if (input.ends.startsWith('is terminated')) void thread.terminate();
  });
  const code = await new Promise<number>((resolve) => thread.once('exit', resolve));
  if (input.ends === 'returns' || input.ends === 'exits') assert.equal(code, 0);
  else assert.equal(code, 1);
  const expected = input.ends === 'throws' ? ['as it was told'] : [];
  assert.deepEqual(
    failed.map((error) => error.message),
    expected,
  );
}

/** A thread submits reads to our ring and ends: all of them must be there, and its notice must come after them. */
async function readsSurvive(ends: Ends, fd: number): Promise<void> {
  const ring = TestRing.inOwnMemory(READS);
  const { addon } = ring;
  const words = new Int32Array(ring.handle.memory.buffer);
  const signalled = addon.eventfd();
  const noticed = addon.noticeReceiver(signalled);
  const counts: number[] = [];
  const poll = addon.pollOpen(signalled, 1, () => {
    counts.push(Atomics.load(words, ring.noticeOffset >> 2), ring.completed);
  });
  addon.pollSet(poll, 1, 1);
  const polled = addon.eventfd();
  await endThread({ ring: ring.handle, fd, reads: READS, length: LENGTH, ends, polled, noticed });

  assert.equal(ring.completed, READS);
  await untilTrue(() => counts.length > 0);
  assert.deepEqual(counts, [1, READS]);
  const results = ring.reap().sort((one, other) => one.userData - other.userData);
  assert.deepEqual(
    results,
    Array.from({ length: READS }, (_, userData) => ({ userData, result: LENGTH })),
  );
  assert.equal(Buffer.compare(ring.data.subarray(0, content.length), content), 0);
  addon.pollClose(poll);
  ring.close();
}

describe('what a thread has submitted is completed', { skip: ownMemoryMissing() }, () => {
  for (const ends of endings) {
    it(`when it ${ends}`, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        makeCold();
        const fd = openSync(path, 'r');
        await readsSurvive(ends, fd);
        closeSync(fd);
      }
    });

    it(`when it ${ends}, with O_DIRECT`, { skip: directMissing() }, async () => {
      const fd = theAddon().open(path, constants.O_RDONLY | constants.O_DIRECT, 0);
      for (let round = 0; round < ROUNDS; round++) await readsSurvive(ends, fd);
      theAddon().close(fd);
    });
  }
});

/**
 * Whether a thread of this process is in the system call that waits for the ring's completions and submits nothing. The
 * kernel's own workers show the call that made them, which submitted something.
 */
function someThreadWaitsIn(ring: TestRing): boolean {
  const call = `${IO_URING_ENTER} 0x${ring.fd.toString(16)} 0x0 `;
  return readdirSync('/proc/self/task').some((thread) => {
    try {
      return readFileSync(`/proc/self/task/${thread}/syscall`, 'utf8').startsWith(call);
    } catch {
      return false; // it has ended meanwhile
    }
  });
}

describe('a thread that ends while another closes the ring', { skip: ownMemoryMissing() }, () => {
  it('ends when what it submitted is over', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const fd = openSync(pipe, 'r+');
    const ring = TestRing.inOwnMemory(1);
    const { addon } = ring;
    const input: ThreadInput = {
      ring: ring.handle,
      fd,
      reads: 1,
      length: 8,
      ends: 'is terminated',
      polled: addon.eventfd(),
      noticed: -1,
    };
    const submitter = new Worker(new URL('./addon-thread.js', import.meta.url), { workerData: input });
    await once(submitter, 'message');
    const closer = new Worker(new URL('./addon-closing-thread.js', import.meta.url), { workerData: ring.id });
    // Asking the addon instead could make this thread the ring's last user, and then it is the one that waits.
    await untilTrue(() => someThreadWaitsIn(ring));
    let ended = false;
    const ending = submitter.terminate().then(() => {
      ended = true;
    });
    // While others start and end, it does not.
    for (let round = 0; round < OTHERS; round++)
      await endThread({ ...input, ring: null, reads: 0, polled: addon.eventfd() });
    const early = ended;
    const closed = once(closer, 'exit');
    writeSync(fd, Buffer.alloc(8));
    await ending;
    await closed;
    closeSync(fd);
    assert.ok(!early, 'memory of its own would have gone');
  });
});

describe('a ring of the thread itself', { skip: ringsMissing() }, () => {
  for (const ends of endings) {
    it(`is drained and closed when it ${ends}`, async () => {
      const fd = openSync(path, 'r');
      for (let round = 0; round < ROUNDS; round++) {
        makeCold();
        const polled = theAddon().eventfd();
        const input = { ring: null, fd, reads: READS / 4, length: LENGTH, ends, polled, noticed: -1 };
        await endThread(input);
      }
      closeSync(fd);
    });
  }
});

/** What a program can ask about itself. */
const inspect = `const descriptors = () => readdirSync('/proc/self/fd').length;
  const allMappings = () => readFileSync('/proc/self/maps', 'utf8').split('io_uring').length - 1;
  // libuv has rings of its own, in newer versions.
  const mappings = () => allMappings() - mappingsOfNode;
  const resident = () => Number(/^VmRSS:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
  const turn = () => new Promise(setImmediate);
  const collect = async (done) => {
    for (let at = 0; at < 200 && !done(); at++) { gc(); await turn(); }
    if (!done()) console.log('not collected');
  };
  await turn();
  await turn();
  const mappingsOfNode = allMappings();`;

/** Runs a program that prints what it found wrong: nothing. */
async function findsNothing(program: string): Promise<void> {
  const ended = await runProgram(`${inspect}\n${program}`, ['--expose-gc']);
  assert.deepEqual(ended, { code: 0, output: '', errors: '' });
}

describe('rings that are made and closed', { skip: ringsMissing() }, () => {
  it('leave no descriptor and no memory, however many', async () => {
    // More than the table holds, each of which is closed twice.
    await findsNothing(`
      const before = descriptors();
      const out = new Int32Array(12);
      const round = () => {
        const id = addon.ringSetup(8, -1, 0, 0, 0, out);
        if (addon.ringViews(id).length !== 2 || addon.ringEnter(id, 0, 0, 0) !== 0) console.log('no ring');
        addon.ringClose(id);
        addon.ringClose(id);
      };
      // Node's own memory grows by leaps; a leak grows with each batch, by 800 kB for a page a ring.
      const growths = [];
      for (let batch = 0; batch < 22; batch++) {
        const used = resident();
        for (let at = 0; at < 200; at++) round();
        await collect(() => mappings() === 0);
        growths.push(resident() - used);
      }
      const median = growths.sort((a, b) => a - b)[11];
      if (descriptors() !== before) console.log(descriptors() - before, 'descriptors');
      // A sanitizer keeps what was freed.
      if (median > 0.4 && !process.env.ASAN_OPTIONS) console.log(median, 'MB for 200 rings');`);
  });

  it('keep their memory mapped until the last view of it is collected', async () => {
    await findsNothing(`
      let ring = TestRing.mapped(8);
      let views = addon.ringViews(ring.id);
      if (mappings() !== 2) console.log(mappings(), 'mappings');
      ring.close();
      ring = null;
      for (let at = 0; at < 10; at++) { gc(); await turn(); }
      if (mappings() === 0) console.log('unmapped under a view');
      new Uint8Array(views[0]).fill(1);
      views = views[1];
      for (let at = 0; at < 10; at++) { gc(); await turn(); }
      if (mappings() === 0) console.log('unmapped under the other view');
      new Uint8Array(views).fill(1);
      views = null;
      await collect(() => mappings() === 0);`);
  });

  it('go with their thread, if it did not close them', async () => {
    await findsNothing(`
      const program = new URL(${JSON.stringify(new URL('./addon-careless-thread.js', import.meta.url).href)});
      const run = () => new Promise((resolve) => new Worker(program, { execArgv: [] }).on('exit', resolve));
      await run();
      await turn();
      const before = descriptors();
      for (let at = 0; at < 20; at++) if (await run() !== 0) console.log('the thread failed');
      await collect(() => mappings() === 0);
      if (descriptors() !== before) console.log(descriptors() - before, 'descriptors');`);
  });

  it('may all be of threads, without the main thread', async () => {
    const program = `
      import { Worker } from 'node:worker_threads';
      const program = new URL(${JSON.stringify(new URL('./addon-careless-thread.js', import.meta.url).href)});
      for (let at = 0; at < 10; at++) {
        const threads = Array.from({ length: 3 }, () => new Worker(program, { execArgv: [] }));
        const codes = await Promise.all(threads.map((thread) => new Promise((resolve) => thread.on('exit', resolve))));
        if (codes.some((code) => code !== 0)) console.log(codes);
      }`;
    assert.deepEqual(await runProgram(program, [], 'without the addon'), { code: 0, output: '', errors: '' });
  });
});

describe('registered memory', { skip: addonMissing() }, () => {
  it('is kept until it is forgotten, and notices in it go with it', async () => {
    await findsNothing(`
      let collected = false;
      const registry = new FinalizationRegistry(() => { collected = true; });
      const register = () => {
        const view = new Uint8Array(new SharedArrayBuffer(1 << 20));
        registry.register(view, 0);
        return addon.registerMemory(view);
      };
      const memory = register();
      addon.exitNotice(memory, 0, 1, -1);
      for (let at = 0; at < 10; at++) { gc(); await turn(); }
      if (collected) console.log('collected too early');
      addon.forgetMemory(memory);
      await collect(() => collected);`);
  });
});

describe('exit notices', { skip: addonMissing() }, () => {
  it('come when the thread has ended, unless they are withdrawn', async () => {
    await findsNothing(`
      const words = new Int32Array(new SharedArrayBuffer(64));
      const eventfd = addon.eventfd();
      const program = \`
        import { workerData } from 'node:worker_threads';
        const { loadAddon } = await import(workerData.url);
        const addon = loadAddon();
        const memory = addon.registerMemory(workerData.words);
        addon.exitNotice(memory, 4, 7, workerData.receiver);
        addon.exitNotice(memory, 8, 8, -1);
        addon.withdrawNotice(addon.exitNotice(memory, 12, 1, workerData.receiver));
        for (let at = 0; at < 1000; at++) addon.withdrawNotice(addon.exitNotice(memory, 16, 1, -1));
        if (workerData.words.some((word) => word !== 0)) throw new Error('too early');\`;
      const workerData = { url: addonUrl, words, receiver: addon.noticeReceiver(eventfd) };
      const called = new Promise((resolve) => {
        const poll = addon.pollOpen(eventfd, 1, () => { addon.pollClose(poll); resolve(); });
        addon.pollSet(poll, 1, 1);
      });
      const url = new URL('data:text/javascript,' + encodeURIComponent(program));
      const thread = new Worker(url, { workerData, execArgv: [] });
      const ended = new Promise((resolve) => thread.on('exit', resolve));
      await called;
      if (words[1] !== 7) console.log('signalled before the word');
      if (await ended !== 0) console.log('the thread failed');
      if (words.slice(0, 5).join() !== '0,7,8,0,0') console.log(words);`);
  });

  it('whose receiver has ended write their word, and signal nobody who has its descriptor’s number now', async () => {
    await findsNothing(`
      const run = async (program, workerData) => {
        const url = new URL('data:text/javascript,' + encodeURIComponent(program));
        const thread = new Worker(url, { workerData, execArgv: [] });
        let message;
        thread.on('message', (one) => { message = one; });
        await new Promise((resolve) => thread.on('exit', resolve));
        return message;
      };
      const begin = \`
        import { parentPort, workerData } from 'node:worker_threads';
        const addon = (await import(workerData.url)).loadAddon();\`;
      const words = new Int32Array(new SharedArrayBuffer(64));
      const { receiver, eventfd } = await run(begin + \`
        const eventfd = addon.eventfd();
        const receiver = addon.noticeReceiver(eventfd);
        addon.close(eventfd);
        parentPort.postMessage({ receiver, eventfd });\`, { url: addonUrl });
      // Every number that was closed is in use again, and by somebody who would see a signal.
      let signals = 0;
      const polls = Array.from({ length: 4 }, () => addon.pollOpen(addon.eventfd(), 1, () => signals++));
      for (const poll of polls) addon.pollSet(poll, 1, 0);
      const other = addon.noticeReceiver(addon.eventfd());
      if (other === receiver) console.log('the number was used again');
      await run(begin + \`
        addon.exitNotice(addon.registerMemory(workerData.words), 4, 9, workerData.receiver);\`,
        { url: addonUrl, words, receiver });
      for (let at = 0; at < 10; at++) await turn();
      if (words[1] !== 9) console.log(words);
      if (signals !== 0) console.log(signals, 'signals');
      for (const poll of polls) addon.pollClose(poll);`);
  });
});
