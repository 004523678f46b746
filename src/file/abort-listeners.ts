/**
 * Who wants to hear of an abort. A thousand reads may have one signal, which warns of a leak from its eleventh listener on:
 * it gets one, which tells all of them.
 */
type Listener = () => void;

interface Listeners {
  readonly all: Set<Listener>;
  readonly tell: Listener;
}

const listeners = new WeakMap<AbortSignal, Listeners>();

export function onAbort(signal: AbortSignal, listener: Listener): void {
  let found = listeners.get(signal);
  if (found === undefined) {
    const all = new Set<Listener>();
    const tell = (): void => {
      all.forEach((each) => {
        each();
      });
    };
    listeners.set(signal, (found = { all, tell }));
    signal.addEventListener('abort', tell, { once: true });
  }
  found.all.add(listener);
}

export function offAbort(signal: AbortSignal, listener: Listener): void {
  const found = listeners.get(signal);
  if (found === undefined) return;
  found.all.delete(listener);
  if (found.all.size > 0) return;
  // Node keeps a signal that somebody listens to, if it is made of others or of time, for as long as those.
  signal.removeEventListener('abort', found.tell);
  listeners.delete(signal);
}
