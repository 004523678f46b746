/**
 * What the completion of a read found wrong with its pages: how it is packed into the 32 bits of a result, and how the
 * issuer, and the log, say it. PostgreSQL's buffer_readv_encode_error and buffer_readv_report.
 *
 * Errors win: if a page is invalid, the read is an error, and only the invalid pages are counted. Else pages that were
 * zeroed, and checksum failures that were ignored, make a warning. Beside that, and whatever was done about them, all
 * pages whose checksum was wrong are counted, for the statistics.
 */
import type { AioReturn } from '../aio/result.js';
import { ResultStatus } from '../aio/result.js';
import { InvalidPageError } from '../base/errors.js';
import type { LogEvent } from '../base/log.js';
import { hasChecksumMismatch, PageVerdict } from '../page/page-verdict.js';
import { SmgrWord } from '../smgr/smgr-target.js';

/** How to judge the pages of a read, and what to do with bad ones: the data of the buffers' callbacks. */
export const ReadFlag = {
  /** The cluster keeps no checksums: judge headers only. Is VerifyMode's, too. */
  NO_CHECKSUMS: 1,
  /** A page that is invalid becomes all zero, and valid. */
  ZERO_ON_ERROR: 2,
  /** A page whose header is sane is taken as it is, whatever its checksum. */
  IGNORE_CHECKSUM_FAILURES: 4,
  /** What is read are no pages: nothing is judged. */
  OPAQUE: 8,
} as const;

/** A backend's own choices: they hold for every read that it issues from now on, and for no other's. */
export class PageSettings {
  flags = 0;

  get(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  set(flag: number, on: boolean): void {
    this.flags = on ? this.flags | flag : this.flags & ~flag;
  }
}

/** What was done about a bad page; CHECKSUM is beside one of the others. 0: nothing was wrong. */
export const PageFate = { INVALID: 1, ZEROED: 2, IGNORED: 4, CHECKSUM: 8 } as const;

/** What becomes of a page with a verdict that is not fine. */
export function fateOf(verdict: PageVerdict, flags: number): number {
  const checksum = hasChecksumMismatch(verdict) ? PageFate.CHECKSUM : 0;
  const ignore = (flags & ReadFlag.IGNORE_CHECKSUM_FAILURES) !== 0;
  if (ignore && verdict === PageVerdict.CHECKSUM_MISMATCH) return PageFate.IGNORED | checksum;
  return ((flags & ReadFlag.ZERO_ON_ERROR) !== 0 ? PageFate.ZEROED : PageFate.INVALID) | checksum;
}

/** Counts while a read is completed; one for each thread, used again. */
export class DamageCounts {
  invalid = 0;
  zeroed = 0;
  ignored = 0;
  checksumFailures = 0;
  /** Offset in the read of the first invalid page, of the first zeroed one, of the first ignored one. */
  #firstInvalid = 0;
  #firstZeroed = 0;
  #firstIgnored = 0;

  reset(): void {
    this.invalid = this.zeroed = this.ignored = this.checksumFailures = 0;
  }

  /** Pages are counted in their order. */
  count(at: number, fate: number): void {
    if ((fate & PageFate.CHECKSUM) !== 0) this.checksumFailures++;
    if ((fate & PageFate.INVALID) !== 0 && this.invalid++ === 0) this.#firstInvalid = at;
    if ((fate & PageFate.ZEROED) !== 0 && this.zeroed++ === 0) this.#firstZeroed = at;
    if ((fate & PageFate.IGNORED) !== 0 && this.ignored++ === 0) this.#firstIgnored = at;
  }

  get any(): boolean {
    return this.invalid + this.zeroed + this.ignored > 0;
  }

  get status(): ResultStatus {
    return this.invalid > 0 ? ResultStatus.ERROR : ResultStatus.WARNING;
  }

  /**
   * Bits of `errorData`: 0..7 pages that are invalid, or, in a warning, zeroed; 8..14 offset of the first page that
   * the report is about; 15..22 ignored checksum failures, 0 in an error; 23..30 all checksum failures. A read
   * has 128 pages at most.
   */
  get errorData(): number {
    const { invalid, checksumFailures } = this;
    if (invalid > 0) return invalid | (this.#firstInvalid << 8) | (checksumFailures << 23);
    const first = this.zeroed > 0 ? this.#firstZeroed : this.#firstIgnored;
    return this.zeroed | (first << 8) | (this.ignored << 15) | (checksumFailures << 23);
  }
}

/** Of `errorData`: pages whose checksum was wrong. */
export function checksumFailuresIn(errorData: number): number {
  return (errorData >>> 23) & 0xff;
}

/** The one report of a read, for its issuer: message classes P1 to P7 of the conformance table. */
export function reportDamage(result: AioReturn): Error | LogEvent {
  const { errorData, description: path } = result;
  const firstBlock = (result.targetData[SmgrWord.BLOCK] as number) >>> 0;
  const lastBlock = firstBlock + (result.targetData[SmgrWord.COUNT] as number) - 1;
  const count = errorData & 0xff;
  const block = firstBlock + ((errorData >>> 8) & 0x7f);
  const ignored = (errorData >>> 15) & 0xff;
  if (result.status === ResultStatus.ERROR)
    return new InvalidPageError(path, firstBlock, lastBlock, block, count);
  const place = { level: 'warning', path, block, firstBlock, lastBlock } as const;
  if (count + ignored === 1) return { ...describeFate(path, block, count > 0), ...place };
  const among = `among blocks ${firstBlock}..${lastBlock} of relation "${path}"`;
  const others = count + ignored - 1;
  if (count > 0 && ignored > 0) {
    return {
      ...place,
      code: 'PGAIO_PAGE_ZEROED',
      message: `${pages(count)} zeroed and ${failures(ignored)} ignored ${among}`,
      ...(count > 1 && { detail: `Block ${block} is the first zeroed page.` }),
      hint: `See the log for the other ${others} block(s).`,
    };
  }
  return {
    ...place,
    code: count > 0 ? 'PGAIO_PAGE_ZEROED' : 'PGAIO_CHECKSUM_FAILURE_IGNORED',
    message: count > 0 ? `${pages(count)} zeroed ${among}` : `${failures(ignored)} ignored ${among}`,
    detail: `Block ${block} is the first ${count > 0 ? 'zeroed page' : 'ignored one'}.`,
    hint: `See the log for the other ${others} ${count > 0 ? 'zeroed' : 'ignored'} block(s).`,
  };
}

const pages = (count: number): string => (count === 1 ? '1 page' : `${count} pages`);
const failures = (count: number): string =>
  count === 1 ? '1 checksum failure' : `${count} checksum failures`;

function describeFate(path: string, block: number, zeroed: boolean): { code: string; message: string } {
  return zeroed
    ? {
        code: 'PGAIO_PAGE_ZEROED',
        message: `invalid page in block ${block} of relation "${path}": the page was zeroed`,
      }
    : {
        code: 'PGAIO_CHECKSUM_FAILURE_IGNORED',
        message: `checksum failure ignored in block ${block} of relation "${path}"`,
      };
}

/** One bad page, for the log. */
export function logEventOf(path: string, block: number, fate: number): LogEvent {
  const place = { level: 'log', path, block } as const;
  if ((fate & PageFate.INVALID) === 0) {
    return { ...describeFate(path, block, (fate & PageFate.ZEROED) !== 0), ...place };
  }
  return {
    ...place,
    code: 'ERR_PGAIO_INVALID_PAGE',
    message: `invalid page in block ${block} of relation "${path}"`,
  };
}
