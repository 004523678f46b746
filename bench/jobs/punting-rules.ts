/** What the adaptive rule for IOSQE_ASYNC is measured against. */
import { IoUringMethod } from '../../src/aio/method/io-uring/method.js';
import type { PuntingRule } from '../../src/aio/method/io-uring/punting.js';
import type { Backend } from '../../src/index.js';

/** The same answer every time, without looking at what came of it. */
class FixedRule implements PuntingRule {
  readonly submission = 0;
  readonly triedInline = 0;
  readonly #punt: boolean;

  constructor(punt: boolean) {
    this.#punt = punt;
  }

  begin(): void {
    // Nothing is counted.
  }

  shouldPunt(): boolean {
    return this.#punt;
  }

  end(): void {
    // Nothing is learnt.
  }
}

export function fixPunting(backend: Backend, punt: boolean): void {
  const { ops } = backend.aio;
  if (!(ops instanceof IoUringMethod)) throw new Error(`the method ${ops.name} punts nothing`);
  ops.punting = new FixedRule(punt);
}
