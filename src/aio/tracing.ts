/**
 * What a backend's I/O tells those who subscribe to the tracing channel `pgaio:io` of `node:diagnostics_channel`, in the
 * thread of the backend: `start` and `end` when an I/O was started, `asyncStart` and `asyncEnd` when its result is taken,
 * `error` before these when it failed. One message goes through all of an I/O's events. Nothing is made while nobody
 * subscribes.
 *
 * Events are published between the steps of an operation, so a subscriber must not start I/O of the same backend; it may
 * have somebody else do that later.
 */
import { tracingChannel } from 'node:diagnostics_channel';
import { nowMicros } from '../stats/clock.js';
import type { IoHandle } from './handle.js';

/** The message of an I/O's events. Subscribers may put things of their own in it. */
export interface IoTrace {
  /** Slot of the backend that started it. */
  readonly backend: number;
  /** The handle: `inFlight()` has it under the same numbers. */
  readonly id: number;
  readonly generation: number;
  /** `readv`, `writev` or `fsync`. */
  readonly operation: string;
  readonly target: string;
  /** Which file, and which blocks of it. */
  readonly description: string;
  /** In bytes. */
  readonly offset: number;
  readonly length: number;
  /** From the I/O's end on: bytes that were transferred. */
  bytes?: number;
  /** From the I/O's end on: microseconds from its start until its result was taken. */
  durationMicros?: number;
  /** Why it failed. */
  error?: Error;
}

export const IO_CHANNEL = 'pgaio:io';
const channel = tracingChannel<unknown, IoTrace>(IO_CHANNEL);

/** Of one backend. */
export class IoTracer {
  /** By index of the handle; only while somebody subscribes. */
  readonly #traces = new Map<number, { trace: IoTrace; startedAt: number }>();
  #publishing = false;

  /** A subscriber is being called. */
  get isPublishing(): boolean {
    return this.#publishing;
  }

  get isWanted(): boolean {
    const { start, end, asyncStart, asyncEnd, error } = channel;
    return (
      start.hasSubscribers ||
      asyncEnd.hasSubscribers ||
      error.hasSubscribers ||
      end.hasSubscribers ||
      asyncStart.hasSubscribers
    );
  }

  /** Whether there is an I/O whose end is to be told. */
  get isTracing(): boolean {
    return this.#traces.size > 0;
  }

  started(io: IoHandle, target: string, description: string): void {
    const { index: id, wideGeneration: generation, operationName: operation } = io;
    const { owner: backend, offset, bytes: length } = io;
    const trace = { backend, id, generation, operation, target, description, offset, length };
    this.#traces.set(id, { trace, startedAt: io.startedAt === 0 ? nowMicros() : io.startedAt });
    this.#publish(() => {
      channel.start.publish(trace);
      channel.end.publish(trace);
    });
  }

  /** Its handle is not this I/O's any more. */
  ended(id: number, bytes: number, error: Error | null): void {
    const traced = this.#traces.get(id);
    if (traced === undefined) return; // nobody had subscribed when it was started
    this.#traces.delete(id);
    const { trace, startedAt } = traced;
    trace.bytes = bytes;
    trace.durationMicros = nowMicros() - startedAt;
    if (error !== null) trace.error = error;
    this.#publish(() => {
      if (error !== null) channel.error.publish(trace);
      channel.asyncStart.publish(trace);
      channel.asyncEnd.publish(trace);
    });
  }

  #publish(tell: () => void): void {
    this.#publishing = true;
    try {
      tell(); // what a subscriber throws becomes an uncaught exception later, by Node's rule
    } finally {
      this.#publishing = false;
    }
  }
}
