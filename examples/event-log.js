/**
 * An append-only event log: what `append` has resolved for survives a crash, and comes back in the order of its LSNs.
 * Many callers share one write to the disk.
 *
 *   node examples/event-log.js DIRECTORY append orders '{"id":1}' '{"id":2}'     or lines on standard input
 *   node examples/event-log.js DIRECTORY read [TOPIC] [--from LSN]
 *
 * The directory is a PostgreSQL data directory as far as `pg_waldump` and `pgaio waldump` are concerned.
 */
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { createInstance, formatLsn, parseLsn, PgaioError } from 'pgaio';

export class EventLog {
  #instance;

  /** Recovers what is there, and makes the directory if there is none. */
  static async open(directory, settings = {}) {
    const log = new EventLog();
    log.#instance = await createInstance({
      ioMethod: 'auto',
      sharedBuffers: '128kB', // no pages are read
      // The log is the data: no checkpoint lets go of it.
      wal: { dataDirectory: directory, keepSize: 'all', ...settings },
    });
    return log;
  }

  /** How much was found, and why it ended there. */
  get recovery() {
    return this.#instance.recovery;
  }

  /** Resolves, with the position behind the event, once it is durable. */
  append(topic, event) {
    return this.#instance.backend.wal.commit(topic, JSON.stringify(event));
  }

  /** Resolves once all are durable: in this order, with one wait. */
  async appendAll(topic, events) {
    const { wal } = this.#instance.backend;
    let end;
    for (const event of events) end = await wal.append(topic, JSON.stringify(event));
    await wal.flush(end);
    return end;
  }

  /** Events that are durable now, the oldest first; `from`: a position that `append` or `read` gave. */
  async *read({ topic, from } = {}) {
    const options = {
      ...(topic !== undefined && { prefix: topic }),
      ...(from !== undefined && { start: from }),
    };
    for await (const { end, prefix, payload } of this.#instance.backend.wal.messages(options))
      yield { topic: prefix, next: end, event: JSON.parse(Buffer.from(payload).toString()) };
  }

  close() {
    return this.#instance.close();
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }
}

// --- the command -----------------------------------------------------------------------------------

const usage = 'Usage: node event-log.js DIRECTORY append TOPIC [EVENT ...] | read [TOPIC] [--from LSN]';

async function append(log, topic, events) {
  // They share their writes. A position is printed once it is durable, in the order of the events.
  let printed = Promise.resolve();
  const add = (event) => {
    const appended = log.append(topic, JSON.parse(event));
    printed = Promise.all([appended, printed]).then(([end]) => console.log(formatLsn(end)));
    printed.catch(() => undefined); // it is awaited below
  };
  if (events.length > 0) events.forEach(add);
  else for await (const line of createInterface({ input: process.stdin })) add(line);
  await printed;
}

async function read(log, topic, from) {
  const options = { topic, from: from === undefined ? undefined : parseLsn(from) };
  for await (const { topic: name, next, event } of log.read(options))
    console.log(`${formatLsn(next)} ${name} ${JSON.stringify(event)}`);
}

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { from: { type: 'string' } },
  });
  const [directory, command, topic, ...events] = positionals;
  if (directory === undefined || !['append', 'read'].includes(command) || (command === 'append' && !topic)) {
    console.error(usage);
    return 2;
  }
  const log = await EventLog.open(directory);
  try {
    await (command === 'append' ? append(log, topic, events) : read(log, topic, values.from));
    return 0;
  } finally {
    await log.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.exitCode = await main().catch((error) => {
    if (!(error instanceof PgaioError || error instanceof SyntaxError)) throw error;
    console.error([error.message, error.hint].filter(Boolean).join('\n'));
    return 1;
  });
}
