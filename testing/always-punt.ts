/** io_uring that hands everything to kernel threads, where it waits, and can be told to be dropped. */
import { IoUringMethod } from '../src/aio/method/io-uring/method.js';
import type { PuntingRule } from '../src/aio/method/io-uring/punting.js';
import type { Backend } from '../src/instance/backend.js';

const ALWAYS: PuntingRule = {
  submission: 1,
  triedInline: 0,
  begin: () => undefined,
  shouldPunt: () => true,
  end: () => undefined,
};

/** While nothing is in flight. With other methods nothing changes. Returns what undoes it. */
export function alwaysPunt({ aio }: Backend): () => void {
  const { ops } = aio;
  if (!(ops instanceof IoUringMethod)) return () => undefined;
  const { punting } = ops;
  ops.punting = ALWAYS;
  return () => (ops.punting = punting);
}
