/** The thread behind testing/casualty.ts. */
import { copyFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { attachInstance } from '../src/instance/instance.js';
import { BlockReads } from './block-reads.js';
import { claimScenes, privateScenes, scenes, workerScenes, type Stage } from './casualty-scenes.js';
import type { CasualtyInput } from './casualty.js';
import { ringScenes } from './ring-scenes.js';
import { writeScenes } from './write-scenes.js';

const input = workerData as CasualtyInput;

function sleepForEver(): never {
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

try {
  const backend = await attachInstance(input.handle);
  const { database, relation } = input.locator;
  const directory = `${input.dataDirectory}/base/${database}`;
  const own = input.isPrivate === true ? { backend: backend.number } : {};
  if (input.isPrivate === true)
    copyFileSync(`${directory}/${relation}`, `${directory}/t${backend.number}_${relation}`);
  const stage: Stage = {
    backend,
    blocks: new BlockReads(backend, input.dataDirectory, { ...input.locator, ...own }),
    path: `${directory}/${relation}`,
    directory: input.dataDirectory,
    ioHandle: input.ioHandle,
    armed: false,
    hold: () => {
      parentPort?.postMessage({ backend: backend.number });
      sleepForEver();
    },
  };
  const every = {
    ...scenes,
    ...privateScenes,
    ...workerScenes,
    ...claimScenes,
    ...writeScenes,
    ...ringScenes,
  };
  const play = every[input.scene];
  if (play === undefined) throw new Error('there is no such scene');
  play(stage);
  if (stage.armed) throw new Error('the scene did not come to its place');
  stage.hold();
} catch (error) {
  parentPort?.postMessage({ failed: (error as Error).stack ?? String(error) });
}
