/** Waiting for what no event tells: the event loop turns until it is so. The test's time-out bounds it. */

/** `unless`: what must not end before. */
export async function untilTrue(condition: () => boolean, unless?: Promise<unknown>): Promise<void> {
  let ended = false;
  const end = (): void => {
    ended = true;
  };
  unless?.then(end, end);
  while (!condition()) {
    if (ended) {
      await unless; // throws what went wrong
      throw new Error('it ended before the condition held');
    }
    await new Promise(setImmediate);
  }
}
