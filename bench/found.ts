/** Peers are looked for at run time: one is there, or a sentence says why not. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

export type Found<T> =
  { readonly value: T; readonly missing: null } | { readonly value: null; readonly missing: string };

export function found<T>(value: T): Found<T> {
  return { value, missing: null };
}

export function missing<T>(reason: string): Found<T> {
  return { value: null, missing: reason };
}

/** A program of the PATH. */
export function findProgram(name: string): Found<string> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return found(path);
    } catch {
      // Not in this directory.
    }
  }
  return missing(`there is no ${name} in the PATH`);
}
