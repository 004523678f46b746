/** A file from its beginning to its end as a stream: ours, and Node's. */
import assert from 'node:assert/strict';
import { createReadStream, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInstance, type Backend, type Instance, type IoMethodName } from '../../src/index.js';
import { drop } from '../data/page-cache.js';
import type { Measurement } from '../measurement.js';
import { measureOnce, measureWork } from './measure.js';

export interface FileStreamsSpec {
  /** By whom; `fs` is Node. */
  readonly method: IoMethodName | 'fs';
  readonly consumer: 'data' | 'for await' | 'web';
  readonly file: string;
  /** Bytes a chunk. Default: that of the stream. */
  readonly highWaterMark?: number;
  /** Past the page cache; ours only. */
  readonly direct?: boolean;
  /** From storage, once. */
  readonly cold: boolean;
  readonly seconds: number;
}

const MIB = 1024 ** 2;

export async function fileStreams(spec: FileStreamsSpec): Promise<Measurement> {
  const instance =
    spec.method === 'fs' ? null : await createInstance({ ioMethod: spec.method, sharedBuffers: '1MB' });
  const scan = async (): Promise<number> => {
    const bytes = await consume(spec, instance?.backend ?? null);
    assert.equal(bytes, statSync(spec.file).size);
    return bytes / MIB;
  };
  const measurement = await (spec.cold ? measureCold(spec, scan) : measureCached(spec, scan));
  await endOf(instance);
  return measurement;
}

async function endOf(instance: Instance | null): Promise<void> {
  await instance?.close();
}

function measureCold(spec: FileStreamsSpec, scan: () => Promise<number>): Promise<Measurement> {
  drop([spec.file]);
  return measureOnce(0, scan);
}

function measureCached(spec: FileStreamsSpec, scan: () => Promise<number>): Promise<Measurement> {
  return measureWork(spec.seconds, 0, async (until) => {
    let ops = 0;
    while (performance.now() < until) ops += await scan();
    return ops;
  });
}

async function consume(spec: FileStreamsSpec, backend: Backend | null): Promise<number> {
  const { file, highWaterMark, consumer, direct = false } = spec;
  if (consumer === 'web') return countChunks(await webStream(spec, backend));
  const options = highWaterMark === undefined ? {} : { highWaterMark };
  const stream = backend?.createReadStream(file, { ...options, direct }) ?? createReadStream(file, options);
  if (consumer === 'for await') return countChunks(stream as AsyncIterable<Uint8Array>);
  return new Promise((resolve, reject) => {
    let bytes = 0;
    stream.on('data', (chunk: string | Buffer) => {
      bytes += chunk.length;
    });
    stream.once('error', reject);
    stream.once('close', () => resolve(bytes));
  });
}

async function webStream(
  { file }: FileStreamsSpec,
  backend: Backend | null,
): Promise<AsyncIterable<Uint8Array>> {
  if (backend !== null) return (await backend.openFile(file)).readableWebStream({ autoClose: true });
  const handle = await open(file);
  const stream = handle.readableWebStream({ type: 'bytes' }) as AsyncIterable<Uint8Array>;
  return closing(stream, () => handle.close());
}

async function* closing(
  stream: AsyncIterable<Uint8Array>,
  close: () => Promise<void>,
): AsyncIterable<Uint8Array> {
  yield* stream;
  await close();
}

async function countChunks(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of chunks) bytes += chunk.length;
  return bytes;
}
