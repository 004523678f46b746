/** The example that serves a file: what HTTP asks of it, and under load, with clients that go away. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const examples = fileURLToPath(new URL('../../examples/', import.meta.url));
const run = promisify(execFile);

interface Served {
  readonly addresses: readonly string[];
  close(): Promise<void>;
}
type ServeFile = (path: string, options?: object) => Promise<Served>;

const content = Buffer.from(Array.from({ length: 300_007 }, (_, at) => at % 251));
let home: string;
let served: Served;
before(async () => {
  home = mkdtempSync(join(tmpdir(), 'pgaio-serve-'));
  const path = join(home, 'file');
  writeFileSync(path, content);
  const { serveFile } = (await import(join(examples, 'file-server.js'))) as { serveFile: ServeFile };
  served = await serveFile(path, { threads: 2, cache: '4MB', prewarm: true });
});
after(async () => {
  await served.close();
  rmSync(home, { recursive: true });
});

interface Answer {
  readonly status: number;
  readonly range: string | null;
  readonly etag: string;
  readonly body: Buffer;
}

async function ask(headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const response = await fetch(served.addresses.at(-1) ?? '', { method, headers });
  return {
    status: response.status,
    range: response.headers.get('content-range'),
    etag: response.headers.get('etag') ?? '',
    body: Buffer.from(await response.arrayBuffer()),
  };
}

it('serves the whole file, and ranges of it', async () => {
  const whole = await ask();
  assert.deepEqual([whole.status, whole.range], [200, null]);
  assert.ok(whole.body.equals(content));
  const cases: [string, number, number][] = [
    ['bytes=0-0', 0, 0],
    ['bytes=100-99999', 100, 99_999],
    ['bytes=299990-', 299_990, 300_006],
    ['bytes=-7', 300_000, 300_006],
    ['bytes=5-999999999', 5, 300_006],
    ['bytes=-999999999', 0, 300_006],
  ];
  for (const [range, start, end] of cases) {
    const part = await ask({ range });
    assert.deepEqual([part.status, part.range], [206, `bytes ${start}-${end}/300007`], range);
    assert.ok(part.body.equals(content.subarray(start, end + 1)), range);
  }
});

it('answers what is no range, outside of the file, or not wanted any more', async () => {
  for (const range of ['bytes=300007-', 'bytes=-0']) {
    const outside = await ask({ range });
    assert.deepEqual([outside.status, outside.range], [416, 'bytes */300007'], range);
  }
  for (const range of ['bytes=9-5', 'bytes=-', 'lines=1-2', 'bytes=0-1,3-4'])
    assert.equal((await ask({ range })).status, 200, range);
  const { etag } = await ask({}, 'HEAD');
  assert.equal((await ask({ 'if-none-match': etag })).status, 304);
  assert.equal((await ask({ range: 'bytes=0-1', 'if-range': etag })).status, 206);
  assert.equal((await ask({ range: 'bytes=0-1', 'if-range': '"another"' })).status, 200);
  assert.equal((await ask({}, 'POST')).status, 405);
});

it('under load, with clients that go away, gives the right bytes and leaves nothing behind', async () => {
  const { stdout } = await run(process.execPath, [join(examples, 'file-server-load.js'), '--seconds', '1.5']);
  assert.match(stdout, /^\d+ requests \(\d+ left early\), /m);
  assert.match(stdout, /^pinned 0, in flight 0, descriptors none more, /m);
});
