/** Threads that end in the middle of a commit: others go on, and nothing acknowledged is lost. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { Actor, type Role } from '../../testing/actor.js';
import { Injection, type Point } from '../../testing/injection.js';
import { forEachMethod, withRig } from '../../testing/instances.js';
import { walMessages } from '../../testing/wal-records.js';

const MB = 1 << 20;

forEachMethod((ioMethod) => {
  const injection = new Injection();

  /** Commits before, in an actor that ends before it is acknowledged, and behind it. */
  async function dies(role: Role, point: Point | null): Promise<void> {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'pgaio-wal-'));
    try {
      const wal = { dataDirectory, segmentSize: MB, buffers: 128 * 1024, checkpointer: false };
      await withRig({ ioMethod, injection: injection.url, wal }, async ({ backend, instance, data }) => {
        await backend.wal.commit('main', 'before');
        // No other thread has I/O meanwhile: there is no checkpointer.
        const hold = point === null ? null : injection.hold(point, { times: 1 });
        const actor = new Actor({
          role,
          handle: instance.handle,
          dataDirectory: data.path,
          locator: data.write(1, 1),
          block: 0,
          injection: injection.url,
        });
        await actor.report('ready');
        await hold?.arrived();
        await actor.terminate();
        hold?.release();
        await backend.wal.commit('main', 'behind');
        const messages = walMessages(join(dataDirectory, 'pg_wal'), MB).map(({ prefix }) => prefix);
        assert.deepEqual(messages, ['main', 'actor', 'main']);
      });
    } finally {
      rmSync(dataDirectory, { recursive: true });
    }
  }

  it('with its page written, and nobody told', () => dies('commit', 'beforeSharedCompletion'));

  it('with its page written, and everybody told', () => dies('commit', 'afterSharedCompletion'));

  it('having taken the fsync upon itself', () => dies('commit unsynced', null));
});
