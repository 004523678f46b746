/** What `pgaio waldump` does: finds the segments, walks over the records, prints them or counts them, says how it ended. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { SettingError } from '../../base/errors.js';
import { formatLsn, type Lsn } from '../../wal/lsn.js';
import type { WalEnd } from '../../wal/reader-end.js';
import type { WalRecord } from '../../wal/record.js';
import { dumpWal, type DumpResult } from './dump.js';
import { recordJson, recordLine } from './record-output.js';
import { Statistics, statisticsTable } from './statistics.js';
import { checkStart, findWalFiles, firstLsn, NoWalError, type WalFiles } from './wal-files.js';

export interface WaldumpRequest {
  readonly path: string;
  readonly start?: Lsn | undefined;
  readonly end?: Lsn | undefined;
  readonly timeline?: number | undefined;
  /** Number of the only one that is wanted. */
  readonly resourceManager?: number | undefined;
  readonly limit?: number | undefined;
  readonly stats: 'manager' | 'record' | null;
  readonly json: boolean;
  readonly signal?: AbortSignal | undefined;
}

export const ExitCode = { READ: 0, DAMAGED: 1, NOT_DONE: 2, INTERRUPTED: 130 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Resolves with the exit code. `say` hears how it ended, unless that is in the JSON. Throws a PgaioError for bad input. */
export async function waldump(
  request: WaldumpRequest,
  out: Writable,
  say: (line: string) => void,
): Promise<ExitCode> {
  const files = await findWalFiles(request.path, request.timeline);
  const start = request.start ?? firstLsn(files);
  if (request.end !== undefined && request.end <= start) {
    throw new SettingError(`the end ${formatLsn(request.end)} is not after the start ${formatLsn(start)}`);
  }
  await checkStart(files, start);
  return new Waldump(request, files, start, out).run(say);
}

class Waldump {
  readonly #request: WaldumpRequest;
  readonly #files: WalFiles;
  readonly #start: Lsn;
  readonly #out: Writable;
  readonly #statistics: Statistics | null;
  #majorVersion = 0;
  #records = 0;
  #firstLsn: Lsn | null = null;
  #piece = '';

  constructor(request: WaldumpRequest, files: WalFiles, start: Lsn, out: Writable) {
    this.#request = request;
    this.#files = files;
    this.#start = start;
    this.#out = out;
    const { stats } = request;
    this.#statistics = stats === null ? null : new Statistics(stats === 'record', () => this.#majorVersion);
  }

  async run(say: (line: string) => void): Promise<ExitCode> {
    const { json, signal, end, path } = this.#request;
    if (json && this.#statistics === null) this.#piece += '{"records":[';
    const result = await dumpWal({
      files: this.#files,
      start: this.#start,
      end,
      signal,
      onRecord: (record, majorVersion) => this.#onRecord(record, majorVersion),
      breathe: () => this.#flush(),
    });
    const code = this.#exitCode(result);
    if (json) this.#piece += this.#jsonTail(result, code);
    else if (this.#statistics !== null && result.position !== null)
      this.#piece += this.#statisticsText(this.#statistics, result);
    await this.#flush();
    if (result.end !== null && result.position === null && code === ExitCode.NOT_DONE) {
      throw new NoWalError(
        path,
        `no record was found in "${path}" from ${formatLsn(this.#start)} on: ${result.end.message}`,
      );
    }
    if (!json && result.end !== null) say(endLine(result.end));
    return code;
  }

  /** False: no more are wanted. */
  #onRecord(record: WalRecord, majorVersion: number): boolean {
    const { resourceManager, limit = Infinity, json } = this.#request;
    this.#majorVersion = majorVersion;
    if (resourceManager !== undefined && record.resourceManager !== resourceManager) return true;
    this.#firstLsn ??= record.lsn;
    if (this.#statistics !== null) this.#statistics.add(record);
    else if (json)
      this.#piece += `${this.#records > 0 ? ',\n' : ''}${JSON.stringify(recordJson(record, majorVersion))}`;
    else this.#piece += `${recordLine(record, majorVersion)}\n`;
    this.#records++;
    return this.#records < limit;
  }

  #exitCode({ end, position }: DumpResult): ExitCode {
    const { signal, end: wanted } = this.#request;
    // Interrupted by nobody but the reader of our output: nobody wants to know.
    if (signal?.aborted === true) return this.#out.writable ? ExitCode.INTERRUPTED : ExitCode.NOT_DONE;
    if (end === null || end.reason === 'end-of-range') return ExitCode.READ;
    if (position === null) return ExitCode.NOT_DONE;
    return wanted !== undefined && end.end < wanted ? ExitCode.DAMAGED : ExitCode.READ;
  }

  #jsonTail(result: DumpResult, exitCode: ExitCode): string {
    const { end, position, majorVersion, systemIdentifier } = result;
    const tail = {
      timeline: this.#files.timeline,
      segmentSize: this.#files.segmentSize,
      majorVersion,
      systemIdentifier: systemIdentifier === null ? null : String(systemIdentifier),
      count: this.#records,
      position: position === null ? null : formatLsn(position),
      end: end === null ? null : { lsn: formatLsn(end.end), reason: end.reason, message: end.message },
      exitCode,
    };
    if (this.#statistics === null) return `],\n${JSON.stringify(tail).slice(1)}\n`;
    const stats = { rows: this.#statistics.rows(), total: this.#statistics.total() };
    return `${JSON.stringify({ statistics: stats, ...tail })}\n`;
  }

  #statisticsText(statistics: Statistics, { position }: DumpResult): string {
    const [from, to] = [this.#firstLsn ?? this.#start, position ?? this.#start].map(formatLsn);
    return `WAL statistics between ${from ?? ''} and ${to ?? ''}:\n${statisticsTable(statistics)}\n`;
  }

  /** Gives signals a chance to be heard, and waits for a slow reader of the output. */
  async #flush(): Promise<void> {
    const piece = this.#piece;
    this.#piece = '';
    await turn();
    if (piece === '' || !this.#out.writable) return;
    if (this.#out.write(piece)) return;
    await Promise.race([once(this.#out, 'drain'), once(this.#out, 'close')]).catch(() => undefined);
  }
}

function endLine({ end, reason, message }: WalEnd): string {
  return reason === 'end-of-range'
    ? `read to ${formatLsn(end)}: ${message}`
    : `WAL ends at ${formatLsn(end)}: ${message}`;
}
