/** For programs that are killed while they work. */
import { writeSync } from 'node:fs';

/** Prints a line, whole, before this thread does anything else. While the pipe is full this spins. */
export function say(line: string): void {
  for (let rest: Uint8Array = Buffer.from(`${line}\n`); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}
