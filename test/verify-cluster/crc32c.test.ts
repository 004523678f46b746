import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { crc32c } from '../../src/base/crc32c.js';

describe('crc32c', () => {
  const ascending = Uint8Array.from({ length: 32 }, (_, index) => index);
  const known: [string, Uint8Array, number][] = [
    ['nothing', new Uint8Array(), 0],
    ['the check string', Buffer.from('123456789'), 0xe3069283],
    ['32 zeros (RFC 3720)', new Uint8Array(32), 0x8a9136aa],
    ['32 ones (RFC 3720)', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['0..31 (RFC 3720)', ascending, 0x46dd794e],
    ['31..0 (RFC 3720)', ascending.toReversed(), 0x113fdb5c],
  ];
  for (const [what, bytes, expected] of known) {
    it(`knows ${what}`, () => {
      assert.equal(crc32c(bytes), expected);
    });
  }

  it('goes on over pieces', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 100 }), (left, right) => {
        assert.equal(crc32c(right, crc32c(left)), crc32c(Buffer.concat([left, right])));
      }),
    );
  });
});
