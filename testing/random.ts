/** A reproducible source of random numbers, so that a failing run is repeated from the seed that it printed. */
export interface Random {
  readonly seed: number;
  /** 32 random bits, as an unsigned integer. */
  bits(): number;
  /** An integer from 0 to `limit - 1`. */
  below(limit: number): number;
  /** True with the given probability. */
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/** sfc32 (Chris Doty-Humphrey's small fast counter), seeded with one 32-bit integer. */
export function seededRandom(seed: number): Random {
  let a = seed >>> 0;
  let b = 0x9e3779b9;
  let c = 0x243f6a88;
  let counter = 1;

  function bits(): number {
    const sum = (a + b + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = (b ^ (b >>> 9)) >>> 0;
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + sum) >>> 0;
    return sum;
  }
  // Neighbouring seeds begin alike; a dozen rounds mix them, as the author recommends.
  for (let round = 0; round < 12; round++) bits();

  const below = (limit: number): number => {
    if (!Number.isInteger(limit) || limit < 1 || limit > 2 ** 32) throw new RangeError(`limit ${limit}`);
    return Math.floor((bits() / 2 ** 32) * limit);
  };
  return {
    seed,
    bits,
    below,
    chance: (probability) => bits() / 2 ** 32 < probability,
    pick: (items) => {
      if (items.length === 0) throw new RangeError('nothing to pick from');
      return items[below(items.length)]!;
    },
  };
}
