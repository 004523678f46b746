/**
 * Where frames go: a terminal, which shows the newest one until a key ends it, in the second screen that terminals have, so
 * that what was there before comes back; or anything else, which gets one after the other.
 */
import { stripVTControlCharacters } from 'node:util';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE_END = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const RESET_STYLE = '\u001b[0m';
const CTRL_C = '\u0003';

export interface Screen {
  show(lines: readonly string[]): void;
  close(): void;
}

/** `quit`: the user wants no more. */
export function openScreen(out: NodeJS.WriteStream, input: NodeJS.ReadStream, quit: () => void): Screen {
  out.on('error', quit); // `| head`
  if (!out.isTTY)
    return {
      show: (lines) => void out.write(`${lines.join('\n')}\n\n`),
      close: () => undefined,
    };
  return new Terminal(out, input, quit);
}

class Terminal implements Screen {
  readonly #out: NodeJS.WriteStream;
  readonly #input: NodeJS.ReadStream;
  readonly #quit: () => void;
  #lines: readonly string[] = [];

  constructor(out: NodeJS.WriteStream, input: NodeJS.ReadStream, quit: () => void) {
    this.#out = out;
    this.#input = input;
    this.#quit = quit;
    out.write(ENTER);
    out.on('resize', this.#draw);
    if (!input.isTTY) return;
    input.setRawMode(true);
    input.setEncoding('utf8');
    input.on('data', this.#onKeys);
  }

  show(lines: readonly string[]): void {
    this.#lines = lines;
    this.#draw();
  }

  close(): void {
    this.#out.off('resize', this.#draw);
    if (this.#input.isTTY) {
      this.#input.off('data', this.#onKeys);
      this.#input.setRawMode(false);
      this.#input.pause();
    }
    this.#out.write(LEAVE);
  }

  readonly #onKeys = (keys: string): void => {
    if (/q/i.test(keys) || keys.includes(CTRL_C)) this.#quit();
  };

  /** No line may wrap, or the first would leave the screen. */
  readonly #draw = (): void => {
    const { columns, rows } = this.#out;
    const help = 'q: quit';
    const lines = [...this.#lines.slice(0, Math.max(1, rows - 2)), '', help];
    const shown = lines.slice(0, rows).map((line) => `${cut(line, columns)}${RESET_STYLE}${CLEAR_LINE_END}`);
    this.#out.write(`${HOME}${shown.join('\r\n')}${CLEAR_BELOW}`);
  };
}

/** A line that is too long loses its styles. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  return plain.length <= columns ? line : plain.slice(0, columns);
}
