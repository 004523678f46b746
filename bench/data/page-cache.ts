/** Files into the page cache, and out of it. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';

const CHUNK = 1024 ** 2;

/** Reads files so that the page cache holds them. It lets go of idle files within minutes: do it each time. */
export function warm(files: readonly string[]): void {
  const chunk = new Uint8Array(CHUNK);
  for (const file of files) {
    const fd = openSync(file, 'r');
    while (readSync(fd, chunk, 0, CHUNK, null) > 0);
    closeSync(fd);
  }
}

/** Has the kernel forget clean pages of files, which needs no privilege: what GNU dd's `nocache` asks for. */
export function drop(files: readonly string[]): void {
  for (const file of files) {
    const { status, stderr } = spawnSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
    if (status !== 0) throw new Error(`cannot drop "${file}" from the page cache: ${String(stderr)}`);
  }
}
