/** When a process with an instance ends by itself, and when it must not. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { forEachMethod } from '../../testing/instances.js';

const library = new URL('../../src/index.js', import.meta.url).href;

/** Runs a program to its end. */
async function run(
  program: string,
  nodeOptions: readonly string[] = [],
): Promise<{ code: number | null; output: string }> {
  const source = `import { createInstance } from ${JSON.stringify(library)};\n${program}`;
  const child = spawn(process.execPath, [...nodeOptions, '--input-type=module', '--eval', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

forEachMethod((ioMethod) => {
  const create = `const instance = await createInstance({ ioMethod: '${ioMethod}' });`;

  it('an idle instance that nobody closed does not keep the process', async () => {
    assert.deepEqual(await run(`${create} console.log('idle');`), { code: 0, output: 'idle\n' });
  });

  it('an instance starts whatever options the process was started with', async () => {
    const program = `${create} console.log('started');`;
    const options = ['--max-old-space-size=200', '--stack-trace-limit=20', '--title=x'];
    assert.deepEqual(await run(program, options), { code: 0, output: 'started\n' });
  });

  it('a read that is awaited does, until it is done', async () => {
    const program = `${create}
      const file = instance.backend.openRawFile(${JSON.stringify(process.execPath)});
      console.log((await Promise.all(Array.from({ length: 500 }, (_, at) => file.read(at * 4096, 4096)))).length);`;
    assert.deepEqual(await run(program), { code: 0, output: '500\n' });
  });

  it('a read that nobody awaits does not hold up process.exit', async () => {
    const program = `${create}
      const file = instance.backend.openRawFile(${JSON.stringify(process.execPath)});
      for (let at = 0; at < 100; at++) void file.read(at * 4096, 4096);
      setImmediate(() => process.exit(7));`;
    assert.equal((await run(program)).code, 7);
  });

  it('a closed instance leaves nothing that keeps the process', async () => {
    const program = `${create} await instance.close(); console.log('closed');`;
    assert.deepEqual(await run(program), { code: 0, output: 'closed\n' });
  });
});
