/** Failures of the file system at the calls that are named, for everything in this thread that imports node:fs. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { constants } from 'node:os';

export type RealFs = typeof fs;
export type FsCalls = Record<string, (...args: never[]) => unknown>;

/** Runs `body` while functions of node:fs are replaced. `real` are the functions themselves. */
export function withFs<T>(replace: (real: RealFs) => FsCalls, body: () => T): T {
  const real = { ...fs };
  const calls = replace(real);
  const originals = Object.fromEntries(Object.keys(calls).map((name) => [name, real[name as keyof RealFs]]));
  Object.assign(fs, calls);
  syncBuiltinESMExports();
  try {
    return body();
  } finally {
    Object.assign(fs, originals);
    syncBuiltinESMExports();
  }
}

/** What node:fs throws. */
export function fsError(code: keyof typeof constants.errno): Error {
  return Object.assign(new Error(code), { code, errno: -constants.errno[code] });
}
