// Test files that failed as a whole: their process was killed, or ended with a code although no test failed. The
// runner says of it no more than `test failed`; what finds such a crash is how the process ended, what it was running,
// and its last words. Those are read here and not taken from the runner's events: it does not wait for the end of
// standard error, and loses what comes last.
import { subscribe } from 'node:diagnostics_channel';
import { resolve } from 'node:path';

const LINES_MAX = 40;

export class FileDeaths {
  /** By absolute path: which tests have begun and not ended, how many failed, what the process wrote last. */
  #files = new Map();
  #deaths = [];
  /** Of all processes, the end of their standard error. */
  #closed = [];

  /** Sees every process that this one starts from here on; the runner starts one for a file. */
  watchProcesses() {
    subscribe('child_process', ({ process: child }) => {
      // It is announced before it is spawned, and has its streams only then.
      process.nextTick(() => {
        const file = child.spawnargs?.at(-1);
        if (!child.stderr || typeof file !== 'string') return;
        this.#closed.push(new Promise((close) => child.on('close', close).on('error', close)));
        child.stderr.on('data', (chunk) => this.#of(resolve(file)).keep(String(chunk)));
      });
    });
  }

  observe({ type, data }) {
    if (data?.file === undefined) return;
    const file = this.#of(data.file);
    if (type === 'test:dequeue') file.running.push(data);
    if (type !== 'test:complete') return;
    // As a test, a file has an exit code and a signal in its error, also where one of its own tests failed before.
    const error = data.details?.error;
    if (error !== undefined && 'signal' in error) {
      if (error.signal !== null || error.exitCode !== 1 || file.failed === 0) {
        const running = file.running.filter((test) => test.name !== data.name).map((test) => test.name);
        this.#deaths.push({ name: data.name, error, file, running });
      }
      return;
    }
    file.ended(data);
    if (error !== undefined) file.failed++;
  }

  async *describe() {
    if (this.#deaths.length > 0) await Promise.all(this.#closed);
    for (const { name, error, file, running } of this.#deaths) {
      const how =
        error.signal === null ? `ended with exit code ${error.exitCode}` : `was ended by ${error.signal}`;
      yield `\n✖ the process of ${name} ${how}\n`;
      if (running.length > 0) yield `  while running: ${running.join(' > ')}\n`;
      else yield '  it did not say that a test was running\n';
      const { lines } = file;
      if (lines.length === 0) yield '  it wrote nothing to standard error\n';
      else yield `  the last it wrote to standard error:\n${lines.map((line) => `    ${line}\n`).join('')}`;
    }
  }

  #of(path) {
    let file = this.#files.get(path);
    if (file === undefined) this.#files.set(path, (file = new FileRun()));
    return file;
  }
}

class FileRun {
  running = [];
  failed = 0;
  #text = '';

  keep(text) {
    this.#text = (this.#text + text).split('\n').slice(-LINES_MAX).join('\n');
  }

  ended({ name, nesting, line, column }) {
    const same = (test) =>
      test.name === name && test.nesting === nesting && test.line === line && test.column === column;
    const at = this.running.findLastIndex(same);
    if (at >= 0) this.running.splice(at, 1);
  }

  get lines() {
    return this.#text.split('\n').filter((line) => line.trim() !== '');
  }
}
