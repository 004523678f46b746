/** Files as streams: what Node's streams of files do, and how far ahead ours look. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as nodeFs from 'node:fs';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  promises as fs,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { after, before, describe, it } from 'node:test';
import type { FileReadStream } from '../../src/file/file-read-stream.js';
import type { FileWriteStream } from '../../src/file/file-write-stream.js';
import { LookAhead, type ReadSource } from '../../src/file/look-ahead.js';
import type { Backend } from '../../src/instance/backend.js';
import { holdIo, Injection } from '../../testing/injection.js';
import { forEachMethod, openRig, type Rig } from '../../testing/instances.js';
import { leaksOf } from '../../testing/leaks.js';
import { untilTrue } from '../../testing/turns.js';

const { EIO } = constants.errno;
const TEXT = 'abcdefghijklmnopqrstuvwxyz';

/** As well Node's as ours. */
interface Streams {
  createReadStream(path: string, options?: object | BufferEncoding): FileReadStream | nodeFs.ReadStream;
  createWriteStream(path: string, options?: object | BufferEncoding): FileWriteStream | nodeFs.WriteStream;
}

/** Also after an error. */
function closed(stream: Readable | Writable): Promise<void> {
  return new Promise((resolve) => stream.once('close', () => resolve()));
}

/** What it emits until it is closed. */
async function eventsOf(stream: Readable | Writable): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (const event of ['open', 'ready', 'end', 'finish', 'close'])
    stream.on(event, () => void seen.push(event));
  stream.on('data', (chunk) => void seen.push(String(chunk)));
  stream.on('error', (error: NodeJS.ErrnoException) => void seen.push([error.code, error.syscall]));
  await closed(stream);
  return seen;
}

async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks).toString();
}

/** What a program can do with streams of a file, and see of them. */
const scenarios: Record<string, (streams: Streams, path: string) => Promise<unknown>> = {
  'emits the events of a file that is read, in their order': async (streams, path) => {
    writeFileSync(path, TEXT);
    const stream = streams.createReadStream(path, { encoding: 'utf8' });
    const { pending } = stream;
    const events = await eventsOf(stream);
    return [events, pending, stream.pending, stream.bytesRead, stream.path === path, stream.closed];
  },
  'reads ranges': async (streams, path) => {
    writeFileSync(path, TEXT);
    const ranges = [
      {},
      { start: 3 },
      { end: 4 },
      { start: 3, end: 3 },
      { start: 0, end: 0 },
      { start: 20, end: 100 },
      { start: 26 },
      { start: 1000 },
      { start: 2, end: Infinity },
    ];
    return Promise.all(ranges.map((range) => textOf(streams.createReadStream(path, range))));
  },
  'refuses ranges that are none': (streams, path) => {
    writeFileSync(path, TEXT);
    const wrong = [
      { start: 5, end: 4 },
      { start: -1 },
      { end: -1 },
      { start: 1.5 },
      { start: NaN },
      { start: '1' },
      { end: '1' },
    ];
    const names = wrong.map((options) => {
      try {
        streams.createReadStream(path, options).destroy();
        return 'taken';
      } catch (error) {
        return (error as Error).name;
      }
    });
    return Promise.resolve(names);
  },
  'cuts into chunks of the high-water mark': async (streams, path) => {
    writeFileSync(path, TEXT);
    const chunks = [];
    for await (const chunk of streams.createReadStream(path, { highWaterMark: 10, start: 1 }))
      chunks.push(String(chunk));
    return chunks;
  },
  'decodes what is cut between its bytes': (streams, path) => {
    writeFileSync(path, 'äöüß€'.repeat(10));
    return textOf(streams.createReadStream(path, { encoding: 'utf8', highWaterMark: 5 }));
  },
  'takes an encoding in the place of options': async (streams, path) => {
    writeFileSync(path, TEXT);
    const chunks = [];
    for await (const chunk of streams.createReadStream(path, 'base64')) chunks.push(chunk as string);
    return chunks;
  },
  'reads an empty file': async (streams, path) => {
    writeFileSync(path, '');
    return eventsOf(streams.createReadStream(path));
  },
  'says that there is no such file': async (streams, path) => [
    await eventsOf(streams.createReadStream(path)),
    await eventsOf(streams.createWriteStream(join(path, 'there'))),
  ],
  'may be destroyed before it is open, while it reads, and by the consumer of an iteration': async (
    streams,
    path,
  ) => {
    writeFileSync(path, Buffer.alloc(1_000_000, 'x'));
    const early = streams.createReadStream(path);
    early.destroy();
    const seen: unknown[] = [await eventsOf(early)];
    const late = streams.createReadStream(path);
    late.once('data', () => late.destroy(Object.assign(new Error('enough'), { code: 'ENOUGH' })));
    const errors: unknown[] = [];
    late.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code));
    await closed(late);
    seen.push(errors, late.readableEnded);
    const iterated = streams.createReadStream(path);
    for await (const chunk of iterated) {
      seen.push((chunk as Buffer).length);
      break;
    }
    seen.push(iterated.destroyed);
    return seen;
  },
  'stops when it is aborted': async (streams, path) => {
    writeFileSync(path, Buffer.alloc(1_000_000, 'x'));
    const controller = new AbortController();
    const stream = streams.createReadStream(path, { signal: controller.signal });
    stream.once('data', () => controller.abort());
    await finished(stream).catch(() => undefined);
    return [stream.errored?.name, (stream.errored as NodeJS.ErrnoException).code];
  },
  'may be aborted before it begins': async (streams, path) => {
    writeFileSync(path, TEXT);
    const options = { signal: AbortSignal.abort() };
    return [
      await eventsOf(streams.createReadStream(path, options)),
      await eventsOf(streams.createWriteStream(path, { ...options, flags: 'r+' })),
      readFileSync(path, 'utf8'),
    ];
  },
  'refuses what is no signal and no position': (streams, path) => {
    const codes: unknown[] = [];
    for (const options of [{ signal: 5 }, { start: '1' }, { start: 0.5 }, { end: -1 }]) {
      try {
        streams.createReadStream(path, options).destroy();
      } catch (error) {
        codes.push((error as Error).name, (error as NodeJS.ErrnoException).code);
      }
    }
    return Promise.resolve(codes);
  },
  pauses: async (streams, path) => {
    writeFileSync(path, TEXT);
    const stream = streams.createReadStream(path, { highWaterMark: 5 });
    const chunks: string[] = [];
    stream.on('data', (chunk: Buffer) => {
      chunks.push(String(chunk));
      stream.pause();
      setImmediate(() => stream.resume());
    });
    await once(stream, 'end');
    return chunks;
  },
  'reads what is added while it reads': async (streams, path) => {
    writeFileSync(path, TEXT);
    const stream = streams.createReadStream(path, { highWaterMark: TEXT.length });
    let text = '';
    stream.on('data', (chunk: Buffer) => {
      text += String(chunk);
      if (text.length === TEXT.length) appendFileSync(path, ' and more');
    });
    await once(stream, 'end');
    return text;
  },
  'writes what it is given, and calls back for each': async (streams, path) => {
    const stream = streams.createWriteStream(path);
    const called: number[] = [];
    const events = eventsOf(stream);
    const chunks = ['one ', Buffer.from('two '), new Uint8Array([65, 66, 32])];
    for (const [at, chunk] of chunks.entries()) stream.write(chunk, () => called.push(at));
    stream.write('ff00', 'hex', () => called.push(3));
    stream.end('end', () => called.push(4));
    return [await events, called, stream.bytesWritten, readFileSync(path, 'hex'), stream.pending];
  },
  'writes in the given place, and behind the end': async (streams, path) => {
    writeFileSync(path, TEXT);
    const inside = streams.createWriteStream(path, { flags: 'r+', start: 5 });
    inside.write('12');
    inside.end('345');
    await finished(inside);
    const behind = streams.createWriteStream(path, { flags: 'a' });
    for (let at = 0; at < 10; at++) behind.write(String(at));
    behind.end();
    await finished(behind);
    return readFileSync(path, 'utf8');
  },
  'makes a file of the mode, or none that is there': async (streams, path) => {
    const made = streams.createWriteStream(path, { flags: 'wx', mode: 0o600 });
    made.end(TEXT);
    await finished(made);
    const again = streams.createWriteStream(path, { flags: 'wx' });
    return [nodeFs.statSync(path).mode & 0o777, await eventsOf(again), readFileSync(path, 'utf8')];
  },
  'takes an encoding, and flushes': async (streams, path) => {
    const stream = streams.createWriteStream(path, { encoding: 'latin1', flush: true });
    stream.end('äöü');
    await finished(stream);
    return readFileSync(path, 'hex');
  },
  'may be corked': async (streams, path) => {
    const stream = streams.createWriteStream(path);
    stream.cork();
    for (const word of ['a', 'b', 'c']) stream.write(word);
    process.nextTick(() => stream.uncork());
    stream.end('d');
    await finished(stream);
    return [readFileSync(path, 'utf8'), stream.bytesWritten];
  },
  'is closed by close': async (streams, path) => {
    const stream = streams.createWriteStream(path);
    stream.write(TEXT);
    await new Promise((resolve) => stream.close(resolve));
    const read = streams.createReadStream(path);
    await new Promise((resolve) => read.close(resolve));
    await new Promise((resolve) => read.close(resolve)); // again
    return [readFileSync(path, 'utf8'), stream.closed, read.closed];
  },
  'refuses what comes behind the end': async (streams, path) => {
    const stream = streams.createWriteStream(path);
    stream.end(TEXT);
    const refused = new Promise((resolve) =>
      stream.write('more', (error) => {
        resolve((error as NodeJS.ErrnoException).code);
      }),
    );
    return [await eventsOf(stream), await refused];
  },
  'copies by pipeline': async (streams, path) => {
    const content = Buffer.from(Array.from({ length: 700_001 }, (_, at) => at % 251));
    writeFileSync(path, content);
    await pipeline(streams.createReadStream(path), streams.createWriteStream(`${path}-copy`));
    return readFileSync(`${path}-copy`).equals(content);
  },
};

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let home: string;
  let count = 0;
  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'pgaio-streams-'));
    rig = await openRig({ ioMethod, injection: injection.url, ioMemory: '1MB' });
    backend = rig.backend;
  });
  after(async () => {
    await rig.close();
    rmSync(home, { recursive: true });
  });
  const fresh = (): string => join(home, `file${count++}`);

  describe('as Node’s', () => {
    for (const [name, run] of Object.entries(scenarios))
      it(name, async () => {
        const node = await run(nodeFs, fresh());
        assert.deepEqual(await run(backend as Streams, fresh()), node);
      });
  });

  it('a read that fails ends the stream, behind what was read before', async () => {
    const path = fresh();
    writeFileSync(path, TEXT);
    const stream = backend.createReadStream(path, { highWaterMark: 10 });
    let text = '';
    const reading = (async () => {
      for await (const chunk of stream) {
        text += String(chunk);
        if (text.length === 20) injection.answer(-EIO, { times: 1 });
      }
    })();
    injection.answer(7, { times: 1 }); // and goes on where one stops early
    try {
      await reading;
    } catch (error) {
      const { code, path: where, syscall } = error as NodeJS.ErrnoException;
      assert.deepEqual([code, where, syscall, text], ['EIO', path, 'read', text]);
    }
    injection.disarm('beforeSharedCompletion');
    assert.ok(TEXT.startsWith(text));
    assert.ok(stream.closed);
  });

  it('a write that fails ends the stream, and so does a flush', async () => {
    for (const flush of [false, true]) {
      const stream = backend.createWriteStream(fresh(), { flush });
      await once(stream, 'ready');
      if (flush) await new Promise((resolve) => stream.write('x', resolve));
      injection.answer(-EIO, { times: 1 });
      stream.end(flush ? undefined : 'x');
      await assert.rejects(finished(stream), { name: 'FileError', code: 'EIO' });
      assert.ok(stream.closed);
    }
  });

  it('streams of a handle begin at its position, and close it only if they may', async () => {
    const path = fresh();
    writeFileSync(path, TEXT);
    const file = await backend.openFile(path, 'r+');
    await file.read(Buffer.alloc(3), 0, 3);
    const theirs = await fs.open(path);
    await theirs.read(Buffer.alloc(3), 0, 3);
    const expected = await textOf(theirs.createReadStream({ end: 6, autoClose: false }));
    assert.equal(expected, 'defghij', 'without a start, Node counts the end from where it begins');
    await theirs.close();
    assert.equal(await textOf(file.createReadStream({ end: 6, autoClose: false })), expected);
    assert.equal((await file.read(Buffer.alloc(2), 0, 2)).buffer.toString(), 'kl');
    const writing = file.createWriteStream({ autoClose: false });
    await new Promise((resolve) => writing.end('..', () => resolve(null)));
    assert.equal(await textOf(file.createReadStream({ start: 10 })), 'kl..opqrstuvwxyz');
    assert.ok(file.isClosed);
    assert.throws(() => file.createReadStream(), { code: 'EBADF' });
    const writeOnly = await backend.openFile(path, 'a');
    await assert.rejects(textOf(writeOnly.createReadStream()), { code: 'EBADF' });
    assert.ok(writeOnly.isClosed);
  });

  it('that is destroyed while it reads, and may not close its file, says nothing of that', async () => {
    const path = fresh();
    writeFileSync(path, TEXT);
    await using file = await backend.openFile(path);
    const stream = file.createReadStream({ autoClose: false });
    const events = eventsOf(stream);
    stream.once('open', () => {
      stream.read(0);
      queueMicrotask(() => stream.destroy());
    });
    assert.deepEqual(
      (await events).filter((event) => JSON.stringify(event).includes('rror')),
      [],
    );
  });

  it('a web stream that is given no bytes closes its file, if it is to', async () => {
    for (const chunk of ['text', null, 5]) {
      const file = await backend.openFile(fresh(), 'w');
      const writer = file.writableWebStream({ autoClose: true }).getWriter();
      writer.closed.catch(() => undefined);
      await assert.rejects(writer.write(chunk as never), TypeError);
      await assert.rejects(writer.write(Buffer.from('x')), TypeError);
      assert.ok(file.isClosed);
    }
  });

  it('as web streams', async () => {
    const path = fresh();
    const file = await backend.openFile(path, 'w+');
    const writer = file.writableWebStream().getWriter();
    for (let at = 0; at < 3; at++) void writer.write(Buffer.alloc(100_000, at));
    await assert.rejects(
      file
        .writableWebStream()
        .getWriter()
        .write('text' as never),
      TypeError,
    );
    await writer.close();
    const content = Buffer.concat([0, 1, 2].map((at) => Buffer.alloc(100_000, at)));
    assert.deepEqual(readFileSync(path), content);
    const whole = await new Response(file.readableWebStream({ start: 0 }) as never).arrayBuffer();
    assert.ok(content.equals(Buffer.from(whole)));
    const reader = file.readableWebStream({ start: 99_990, end: 200_009 }).getReader({ mode: 'byob' });
    const parts: Buffer[] = [];
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(50_000));
      if (done) break;
      parts.push(Buffer.from(value));
    }
    assert.ok(Buffer.concat(parts).equals(content.subarray(99_990, 200_010)));
    const cancelled = file.readableWebStream({ start: 0, autoClose: true }).getReader();
    await cancelled.read();
    await cancelled.cancel();
    assert.ok(file.isClosed);
  });

  if (ioMethod !== 'sync')
    it('destroyed while it reads, it is closed when the kernel is done', async () => {
      const path = fresh();
      writeFileSync(path, Buffer.alloc(300_000));
      const before = leaksOf(rig.instance.handle, 1).length;
      const hold = holdIo(injection, backend, 'workerBeforeReopen');
      const stream = backend.createReadStream(path);
      stream.resume();
      await hold.arrived();
      await untilTrue(() => backend.inFlight().some(({ state }) => state === 'SUBMITTED'));
      stream.destroy();
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      assert.ok(!stream.closed);
      hold.release();
      await closed(stream);
      await untilTrue(() => {
        backend.aio.reclaimCompleted();
        return leaksOf(rig.instance.handle, 1).length <= before;
      });
    });

  it('many streams go on with little memory, also when one of them is not consumed', async () => {
    const path = fresh();
    writeFileSync(path, Buffer.alloc(2_000_000, 'x'));
    const stalled = Array.from({ length: 20 }, () => backend.createReadStream(path));
    for (const stream of stalled) stream.once('readable', () => undefined);
    const copies = Array.from({ length: 10 }, async (_, at) => {
      const copy = `${path}-${at}`;
      await pipeline(backend.createReadStream(path), backend.createWriteStream(copy));
      return readFileSync(copy).length;
    });
    assert.deepEqual(await Promise.all(copies), Array(10).fill(2_000_000));
    for (const stream of stalled) stream.destroy();
    await Promise.all(stalled.map((stream) => finished(stream).catch(() => undefined)));
  });
});

describe('look-ahead', () => {
  /** Holds each read until it is told how many bytes there are. */
  class HeldSource implements ReadSource {
    bytes = 1000;
    readonly positions: number[] = [];
    readonly #ends: ((bytes: number) => void)[] = [];

    read(position: number, bytes: Uint8Array): Promise<number> {
      this.positions.push(position);
      const there = Math.max(0, Math.min(bytes.length, this.bytes - position));
      return new Promise((resolve) => this.#ends.push(() => resolve(there)));
    }

    size(): number {
      return this.bytes;
    }

    endAll(): void {
      for (const end of this.#ends.splice(0)) end(0);
    }
  }

  const take = async (source: HeldSource, chunks: LookAhead): Promise<number | null> => {
    const next = chunks.next();
    source.endAll();
    return (await next)?.length ?? null;
  };
  const make = (source: ReadSource, end = Infinity): LookAhead =>
    new LookAhead(source, { start: 0, end, chunkBytes: 100, readBytes: 200, aheadBytes: 450 });

  it('begins with one read, which is short, and grows up to its limits', async () => {
    const source = new HeldSource();
    const chunks = make(source);
    const started: number[] = [];
    for (let at = 0; at < 5; at++) {
      assert.equal(await take(source, chunks), 100);
      started.push(source.positions.length);
    }
    assert.deepEqual(started, [1, 2, 4, 4, 5]);
  });

  it('does not look behind the end, but once', async () => {
    const source = new HeldSource();
    source.bytes = 250;
    const chunks = make(source);
    const lengths: (number | null)[] = [];
    for (let at = 0; at < 5; at++) lengths.push(await take(source, chunks));
    assert.deepEqual(lengths, [100, 100, 50, null, null]);
    assert.deepEqual(source.positions, [0, 100]);
    const exact = new HeldSource();
    exact.bytes = 300;
    const whole = make(exact);
    for (let at = 0; at < 5; at++) await take(exact, whole);
    assert.deepEqual(exact.positions, [0, 100, 300]);
    const ranged = new HeldSource();
    const range = make(ranged, 149);
    assert.deepEqual(
      [await take(ranged, range), await take(ranged, range), await take(ranged, range)],
      [100, 50, null],
    );
    assert.deepEqual(ranged.positions, [0, 100]);
  });

  it('starts nothing more when it was stopped, or when a read failed', async () => {
    const source = new HeldSource();
    const chunks = make(source);
    await take(source, chunks);
    chunks.stop();
    assert.equal(await chunks.next(), null);
    assert.equal(source.positions.length, 1);
    const failing = make({ read: () => Promise.reject(new Error('broken')), size: () => 1000 });
    await assert.rejects(failing.next(), { message: 'broken' });
    assert.equal(await failing.next(), null);
  });

  it('reads files that say that they are empty', { skip: !existsSync('/proc/self/status') }, async () => {
    const path = '/proc/self/status';
    const source: ReadSource = {
      read: (position, bytes) => Promise.resolve(readFileSync(path).copy(bytes, 0, position)),
      size: () => 0,
    };
    assert.equal((await make(source).next())?.length, 100);
  });
});
