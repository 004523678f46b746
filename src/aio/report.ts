/**
 * From a result to what a person reads. Only the issuer does this, with its own copy of the result: whoever completed
 * the I/O packed what happened into a few integers, and the callback that set them knows what they mean.
 */
import { assert } from '../base/assert.js';
import type { LogEvent } from '../base/log.js';
import { ResultStatus, statusName, type AioReturn } from './result.js';
import type { AioThread } from './thread.js';

/** Of a backend. */
interface Issuer {
  readonly thread: AioThread;
}

/** PostgreSQL's pgaio_result_report. There is nothing to say about an I/O that succeeded, or is not over. */
function reportOf(aio: Issuer, result: AioReturn): Error | LogEvent | undefined {
  const { status } = result;
  const reportable = status !== ResultStatus.OK && status !== ResultStatus.UNKNOWN;
  assert(reportable, `a result that is "${statusName(status)}" has nothing to report`);
  return aio.thread.registry.callback(result.reporter).report?.(result);
}

/** Why an I/O failed, to be thrown. */
export function errorOf(aio: Issuer, result: AioReturn): Error {
  const report = reportOf(aio, result);
  return report instanceof Error ? report : new Error(`an I/O failed and ${result.reporter} cannot say why`);
}

/** What the issuer of an I/O that succeeded must know all the same. */
export function warningOf(aio: Issuer, result: AioReturn): LogEvent {
  const report = reportOf(aio, result);
  if (report !== undefined && !(report instanceof Error)) return report;
  return { level: 'warning', message: `an I/O has a warning and ${result.reporter} cannot say which` };
}
