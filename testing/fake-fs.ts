/** Failures of the file system at the calls that are named, for everything in this thread that imports node:fs. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { constants } from 'node:os';

export type RealFs = typeof fs;
export type FsCalls = Record<string, (...args: never[]) => unknown>;

/** Replaces functions of node:fs until what is returned is called. `real` are the functions themselves. */
export function replaceFs(replace: (real: RealFs) => FsCalls): () => void {
  const real = { ...fs };
  const calls = replace(real);
  const originals = Object.fromEntries(Object.keys(calls).map((name) => [name, real[name as keyof RealFs]]));
  const put = (functions: object): void => {
    Object.assign(fs, functions);
    syncBuiltinESMExports();
  };
  put(calls);
  return () => put(originals);
}

/** Runs `body` while functions of node:fs are replaced. */
export function withFs<T>(replace: (real: RealFs) => FsCalls, body: () => T): T {
  const restore = replaceFs(replace);
  try {
    return body();
  } finally {
    restore();
  }
}

/** What node:fs throws. */
export function fsError(code: keyof typeof constants.errno): Error {
  return Object.assign(new Error(code), { code, errno: -constants.errno[code] });
}
