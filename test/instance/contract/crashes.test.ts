/** What must not happen, happens: the instance crashes, typed, for everybody, and nobody waits for ever. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { AioReturn } from '../../../src/aio/result.js';
import { createInstance } from '../../../src/instance/instance.js';
import { setFileTarget } from '../../../src/vfd/file-target.js';
import { forEachMethod } from '../../../testing/instances.js';
import { writeSample } from '../../../testing/raw-reads.js';
import { DataDirectory } from '../../../testing/relations.js';
import { untilTrue } from '../../../testing/turns.js';

const crash = { code: 'ERR_PGAIO_INSTANCE_CRASHED' };
const OUTSIDE = 0x7000_0000;

/** Runs what may throw the crash, at once or later. */
async function attempt(body: () => unknown): Promise<void> {
  try {
    await body();
  } catch {
    // The instance says what happened; see below.
  }
}

forEachMethod((ioMethod) => {
  it('an I/O on memory that is not there touches nothing, and is not waited for in vain', async () => {
    using data = new DataDirectory();
    const instance = await createInstance({ ioMethod, sharedBuffers: '1MB', log: () => undefined });
    const { aio, files, rootScope, parts } = instance.backend;
    const vfd = files.vfds.open(writeSample(data.path, 8192));
    await attempt(() => {
      const io = aio.acquireBlocking(rootScope, new AioReturn());
      const reference = io.waitReference;
      setFileTarget(io, vfd, 0, 8192, 0);
      io.setMemory(files.memory);
      io.appendIov(OUTSIDE, 8192);
      aio.startReadv(io, files.vfds.useOrThrow(vfd), 0);
      return aio.waits.until(() => aio.waitForReference(reference));
    });
    await untilTrue(() => parts.memory.header.isCrashed);
    assert.throws(() => instance.backend.openRawFile('/etc/hostname'), crash);
    await attempt(() => instance.close());
  });
});
