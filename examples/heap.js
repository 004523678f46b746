/**
 * What the examples share: their command line, and as much of PostgreSQL's heap as they need. They look at tables
 * that nobody writes to: a stopped server's, or a running one's after CHECKPOINT.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createInstance, Fork, PgaioError } from 'pgaio';

/** Line pointer flags: PostgreSQL's itemid.h. */
export const LP_NORMAL = 1;
export const LP_DEAD = 3;

/** Runs an example: `body` gets the table, and the arguments that are left. Exit status: 1 failed, 2 wrong usage. */
export async function main(usage, body) {
  const options = { method: { type: 'string', default: 'auto' }, 'no-checksums': { type: 'boolean' } };
  let instance;
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const [directory, path = '', ...rest] = positionals;
    const locator = locate(path);
    instance = await createInstance({ ioMethod: values.method, sharedBuffers: '16MB' });
    const { backend } = instance;
    const relation = backend.openRelation(directory, locator);
    if (!relation.exists(Fork.MAIN)) throw new Error(`there is no file "${join(directory, path)}"`);
    const log = await CommitLog.read(backend, directory);
    await body({
      backend,
      relation,
      log,
      rest,
      streamOptions: { noChecksums: values['no-checksums'] === true },
    });
  } catch (error) {
    const isUsage = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS');
    console.error(isUsage ? `${error.message}\n\nusage: ${usage}` : `error: ${error.message}`);
    if (error instanceof PgaioError && error.hint !== undefined) console.error(`hint: ${error.hint}`);
    process.exitCode = isUsage ? 2 : 1;
  } finally {
    await instance?.close();
  }
}

export class UsageError extends Error {}

/** What `SELECT pg_relation_filepath('table')` prints. */
function locate(path) {
  const parts = /^(?:global|base\/(\d+)|pg_tblspc\/(\d+)\/PG_[^/]+\/(\d+))\/(\d+)$/.exec(path);
  if (parts === null) throw new UsageError(`"${path}" is not a path like base/5/16384`);
  const [, database, tablespace, databaseThere, relation] = parts;
  if (database !== undefined) return { database: Number(database), relation: Number(relation) };
  if (tablespace === undefined) return { tablespace: 1664, database: 0, relation: Number(relation) };
  return { tablespace: Number(tablespace), database: Number(databaseThere), relation: Number(relation) };
}

/** Which transactions have committed: pg_xact, two bits for each. Read whole, 256 kB for a million of them. */
export class CommitLog {
  #segments = new Map();

  static async read(backend, directory) {
    const log = new CommitLog();
    for (const name of readdirSync(join(directory, 'pg_xact'))) {
      const file = await backend.openFile(join(directory, 'pg_xact', name));
      const { bytesRead, buffer } = await file.read(Buffer.alloc(262_144), 0, 262_144, 0);
      log.#segments.set(parseInt(name, 16), buffer.subarray(0, bytesRead));
      await file.close();
    }
    return log;
  }

  /** One that nobody runs any more and that did not commit was aborted, or was cut off by a crash. */
  hasCommitted(xid) {
    if (xid <= 2) return true; // bootstrap, frozen
    const within = xid % 1_048_576;
    const byte = this.#segments.get(Math.floor(xid / 1_048_576))?.[within >>> 2] ?? 0;
    return ((byte >>> ((within & 3) * 2)) & 3) === 1;
  }
}

/** A page of a table: its line pointers, and what is behind them. */
export class HeapPage {
  constructor(page, log) {
    this.view = new DataView(page.buffer, page.byteOffset, page.byteLength);
    this.log = log;
    const lower = this.view.getUint16(12, true);
    this.lines = lower === 0 ? 0 : (lower - 24) / 4;
    /** PD_ALL_VISIBLE: no tuple here needs a look at its header. */
    this.allVisible = (this.view.getUint16(10, true) & 4) !== 0;
  }

  /** `number` counts from 1, as in a ctid. */
  line(number) {
    const word = number < 1 || number > this.lines ? 0 : this.view.getUint32(20 + number * 4, true);
    return { offset: word & 0x7fff, flags: (word >>> 15) & 3, length: word >>> 17 };
  }

  /**
   * 'live', 'dead', or 'unknown' where only pg_multixact could tell: as long as nobody writes, HeapTupleSatisfiesMVCC
   * comes down to this. A hint bit that is set saves the look into pg_xact.
   */
  state({ offset }) {
    if (this.allVisible) return 'live';
    const mask = this.view.getUint16(offset + 20, true);
    const inserted = (mask & 0x0300) === 0 ? this.#committed(offset) : (mask & 0x0100) !== 0;
    if (!inserted) return 'dead';
    if ((mask & (0x0800 | 0x0080)) !== 0) return 'live'; // nobody deleted it, or somebody only locked it
    if ((mask & 0x1000) !== 0) return 'unknown'; // several transactions, one of which may have
    const deleted = (mask & 0x0400) !== 0 || this.#committed(offset + 4);
    return deleted ? 'dead' : 'live';
  }

  #committed(at) {
    return this.log.hasCommitted(this.view.getUint32(at, true));
  }
}
