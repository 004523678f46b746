/** Whether a thread still exists: it may be said to have ended only when that is certain. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';
import { currentThreadIdentity, threadMayBeAlive } from '../../src/shmem/thread-identity.js';

const missing = process.platform === 'linux' ? false : 'threads can be looked at on Linux only';

it('this thread is alive, and one with its number and another start is not', { skip: missing }, () => {
  const identity = currentThreadIdentity();
  assert.ok(identity.threadId > 0 && threadMayBeAlive(identity));
  assert.ok(!threadMayBeAlive({ ...identity, startTime: identity.startTime + 1 }));
  assert.ok(!threadMayBeAlive({ threadId: 2 ** 30, startTime: 1 }));
});

it('without a free descriptor nobody is said to have ended', { skip: missing }, () => {
  const source = `
    import { openSync } from 'node:fs';
    import { currentThreadIdentity, threadMayBeAlive } from ${JSON.stringify(new URL('../../src/shmem/thread-identity.js', import.meta.url).href)};
    const identity = currentThreadIdentity();
    try {
      for (;;) openSync('/dev/null');
    } catch ({ code }) {
      process.stdout.write(code + ' ' + threadMayBeAlive(identity) + ' ' + currentThreadIdentity().threadId);
    }`;
  const command = 'ulimit -n 64; exec "$0" --input-type=module --eval "$1"';
  const { stdout } = spawnSync('sh', ['-c', command, process.execPath, source], { encoding: 'utf8' });
  assert.match(stdout, /^EMFILE true \d+$/);
});
