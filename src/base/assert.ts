/**
 * Assertions: a programmer's mistake, ours or a caller's, stops the operation where it is seen. They stay
 * on in production. Where the message takes work to build, write `if (wrong) fail(message)`: an argument
 * of `assert` is built whether or not it is needed.
 */

/** Thrown when an invariant does not hold. Never caught inside the library. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
  readonly code = 'ERR_PGAIO_ASSERTION';
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) fail(message);
}

export function fail(message: string): never {
  throw new AssertionFailure(message);
}
