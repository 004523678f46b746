/** Whether files of a directory can be read past the page cache. */
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The reason why temporary files cannot be opened with O_DIRECT, or false: for `skip`. */
export function directIoMissing(): string | false {
  const directory = mkdtempSync(join(tmpdir(), 'pgaio-direct-'));
  const path = join(directory, 'file');
  try {
    writeFileSync(path, '');
    closeSync(openSync(path, constants.O_RDONLY | constants.O_DIRECT));
    return false;
  } catch (error) {
    return `no O_DIRECT in ${tmpdir()} (${(error as NodeJS.ErrnoException).code})`;
  } finally {
    rmSync(directory, { recursive: true });
  }
}
