/**
 * Who wants to hear of an abort. A thousand reads may have one signal, which warns of a leak from its eleventh listener on:
 * it gets one, which tells all of them.
 */
type Listener = () => void;

const listeners = new WeakMap<AbortSignal, Set<Listener>>();

export function onAbort(signal: AbortSignal, listener: Listener): void {
  let all = listeners.get(signal);
  if (all === undefined) {
    const made = (all = new Set<Listener>());
    listeners.set(signal, made);
    signal.addEventListener('abort', () => made.forEach((each) => each()), { once: true });
  }
  all.add(listener);
}

export function offAbort(signal: AbortSignal, listener: Listener): void {
  listeners.get(signal)?.delete(listener);
}
