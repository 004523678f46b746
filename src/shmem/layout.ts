/**
 * Layouts of shared structures, declared once as tables of named fields. Everything shared is 32-bit
 * words: an offset is a number of words from the structure's start, and no offset is written by hand.
 */
import { assert } from '../base/assert.js';

/** Words in a cache line: structures that different threads write start on one each. */
export const CACHE_LINE_WORDS = 16;

export interface Layout<Fields extends Readonly<Record<string, number>>> {
  readonly name: string;
  /** Size in words, a multiple of the alignment. */
  readonly words: number;
  /** Offset of each field, in words from the start of the structure. */
  readonly at: { readonly [Name in keyof Fields]: number };
}

/** Declares a structure; `fields` gives the number of words of each field, in order. */
export function declareLayout<const Fields extends Readonly<Record<string, number>>>(
  name: string,
  fields: Fields,
  alignWords = 1,
): Layout<Fields> {
  const at: Record<string, number> = {};
  let words = 0;
  for (const [field, size] of Object.entries(fields)) {
    assert(Number.isInteger(size) && size > 0, `${name}.${field} has a size of ${size} words`);
    at[field] = words;
    words += size;
  }
  words = Math.ceil(words / alignWords) * alignWords;
  return { name, words, at: withFastProperties(at) as Layout<Fields>['at'] };
}

/**
 * An object that grew by computed keys becomes a hash table in V8, and every look at an offset a call. One
 * that the JSON parser made has a fixed shape, and offsets become constants in compiled code.
 */
function withFastProperties<T>(table: T): T {
  return JSON.parse(JSON.stringify(table)) as T;
}
