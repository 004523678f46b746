/**
 * How the supervisor hears at once that a thread has ended: the addon tells, in a hook that runs also when a thread
 * is terminated. Only a faster way: where there is no addon, and for a thread that ended before it could ask for a
 * notice, the supervisor finds out by looking.
 */
import type { LogSink } from '../base/log.js';
import { getSystemErrorMessage } from '../base/system-errors.js';
import type { NativeAddon } from '../native/addon.js';
import type { AttachedMemory } from './thread-parts.js';

/** For the supervisor: calls back when threads have ended. Returns how to stop that. */
export function receiveExitNotices(
  { native, header }: AttachedMemory,
  log: LogSink,
  onNotice: () => void,
): () => void {
  if (native === null) return () => undefined;
  const { addon } = native;
  const { poll, receiver } = openReceiver(addon, onNotice);
  if (receiver < 0) {
    const message = `threads that end are found later: no exit notices, ${getSystemErrorMessage(-receiver)}`;
    log({ level: 'warning', message });
    return () => undefined;
  }
  header.noticeReceiver = receiver;
  return () => addon.pollClose(poll);
}

/** The receiver is -errno where there is none; nothing is left open then. */
function openReceiver(addon: NativeAddon, onNotice: () => void): { poll: number; receiver: number } {
  const eventfd = addon.eventfd();
  if (eventfd < 0) return { poll: -1, receiver: eventfd };
  const poll = addon.pollOpen(eventfd, 1, onNotice); // owns the eventfd from here on
  if (poll < 0) {
    addon.close(eventfd);
    return { poll, receiver: poll };
  }
  const started = addon.pollSet(poll, 1, 0);
  const receiver = started < 0 ? started : addon.noticeReceiver(eventfd);
  if (receiver < 0) addon.pollClose(poll);
  return { poll, receiver };
}

/**
 * For a backend that is attached: the supervisor is told when this thread ends. Withdrawn by `native.forget`, which
 * stands before the release of the slot: else the notice would speak of a slot that is another backend's.
 */
export function askForExitNotice({ native, header, slots }: AttachedMemory, slot: number): void {
  const { threadId } = slots.identity(slot);
  const receiver = header.noticeReceiver;
  if (native === null || receiver === 0 || threadId === 0) return;
  native.notifyExit(slots.exitNoticeWord(slot), threadId, receiver);
}
