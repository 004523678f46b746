/** D-86, MA-*: what happens where io_uring cannot be had, or not so much of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { supportedMethods } from '../../src/instance/methods.js';
import { createInstance } from '../../src/instance/instance.js';

const library = new URL('../../src/index.js', import.meta.url).href;
const missing = supportedMethods().includes('io_uring') ? false : 'io_uring is not available here';

/** Creates an instance in a process with so many descriptors; prints its method and reason, or the error. */
function create(options: object, { openFiles = 4096, env = {} } = {}): Record<string, string> {
  const source = `
    import { createInstance } from ${JSON.stringify(library)};
    try {
      const instance = await createInstance(${JSON.stringify(options)});
      const { ioMethod, methodReason } = instance.settings;
      const file = instance.backend.openRawFile(${JSON.stringify(process.execPath)});
      const bytes = Buffer.from(await file.read(1, 3)).toString();
      file.close();
      await instance.close();
      console.log(JSON.stringify({ ioMethod, methodReason, bytes }));
    } catch ({ name, code, message, hint }) {
      console.log(JSON.stringify({ name, code, message, hint }));
    }`;
  const command = `ulimit -n ${openFiles}; exec "$0" --input-type=module --eval "$1"`;
  const { stdout } = spawnSync('sh', ['-c', command, process.execPath, source], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return JSON.parse(stdout) as Record<string, string>;
}

describe('where io_uring cannot be had', () => {
  it('D-86: without the addon it is refused, with the reason and what to do', () => {
    const { name, message, hint } = create({ ioMethod: 'io_uring' }, { env: { PGAIO_NO_ADDON: '1' } });
    assert.equal(name, 'MethodUnavailableError');
    assert.match(message ?? '', /^ioMethod io_uring is not available: .*PGAIO_NO_ADDON/);
    assert.match(hint ?? '', /PGAIO_NO_ADDON/);
  });

  it('auto takes worker then, and says why', () => {
    const { ioMethod, methodReason, bytes } = create({ ioMethod: 'auto' }, { env: { PGAIO_NO_ADDON: '1' } });
    assert.deepEqual([ioMethod, bytes], ['worker', 'ELF']);
    assert.match(methodReason ?? '', /PGAIO_NO_ADDON/);
  });

  it(
    'D-86: with too few descriptors for its rings it is refused, with the number that would do',
    { skip: missing },
    () => {
      const { code, message, hint } = create({ ioMethod: 'io_uring', maxBackends: 222 }, { openFiles: 120 });
      assert.equal(code, 'ERR_PGAIO_METHOD_UNAVAILABLE');
      assert.match(message ?? '', /^ring \d+ of 222 could not be set up: too few file descriptors/);
      assert.match(hint ?? '', /ulimit -n \d{4}/);
    },
  );

  it('auto goes on with worker then, and all rings are closed again', { skip: missing }, () => {
    const { ioMethod, methodReason, bytes } = create(
      { ioMethod: 'auto', maxBackends: 222 },
      { openFiles: 120 },
    );
    assert.deepEqual([ioMethod, bytes], ['worker', 'ELF']);
    assert.match(methodReason ?? '', /too few file descriptors/);
  });

  it('auto takes io_uring where it works', { skip: missing }, async () => {
    const instance = await createInstance({ ioMethod: 'auto' });
    assert.equal(instance.settings.ioMethod, 'io_uring');
    await instance.close();
  });
});
