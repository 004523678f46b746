import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import {
  ControlFileError,
  parseControlFile,
  readControlFile,
  tablespaceVersionDirectory,
  wasShutDown,
  type ControlFileProblem,
} from '../../src/recovery/control-file.js';
import { controlFixture, FIELD, patchedControlFile, type ControlFixture } from './control-files.js';

function refused(problem: ControlFileProblem, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ControlFileError);
    assert.equal(error.code, 'ERR_PGAIO_CONTROL_FILE');
    assert.equal(error.problem, problem);
    assert.match(error.message, message);
    return true;
  };
}

describe('parseControlFile', () => {
  const releases: [ControlFixture, number, number, bigint, string][] = [
    ['15', 1300, 202209061, 7711011678218897015n, 'PG_15_202209061'],
    ['16', 1300, 202307071, 7711011686414059245n, 'PG_16_202307071'],
    ['17', 1700, 202406281, 7711011695103706887n, 'PG_17_202406281'],
    ['18', 1800, 202506291, 7711011703419418401n, 'PG_18_202506291'],
  ];
  for (const [name, controlVersion, catalogVersion, systemIdentifier, directory] of releases) {
    it(`reads what initdb of PostgreSQL ${name} wrote`, () => {
      const control = parseControlFile(controlFixture(name), 'x/global/pg_control');
      assert.deepEqual(control, {
        path: 'x/global/pg_control',
        majorVersion: Number(name),
        controlVersion,
        catalogVersion,
        systemIdentifier,
        state: 'shut down',
        blockSize: 8192,
        blocksPerSegment: 131072,
        checksumsEnabled: true,
      });
      assert.equal(tablespaceVersionDirectory(control), directory);
      assert.ok(wasShutDown(control));
    });
  }

  it('sees that checksums are off', () => {
    assert.equal(parseControlFile(controlFixture('18-no-checksums'), 'c').checksumsEnabled, false);
    assert.equal(parseControlFile(patchedControlFile(FIELD.checksumVersion, 0), 'c').checksumsEnabled, false);
  });

  it('knows every state, and which of them are at rest', () => {
    const controls = [0, 1, 2, 3, 4, 5, 6].map((state) =>
      parseControlFile(patchedControlFile(FIELD.state, state), 'c'),
    );
    const names = controls.map((control) => control.state);
    assert.equal(new Set(names).size, 7);
    assert.equal(names[6], 'in production');
    assert.deepEqual(controls.map(wasShutDown), [false, true, true, false, false, false, false]);
  });

  it('takes every block size that PostgreSQL can be built with', () => {
    for (const blockSize of [1024, 2048, 4096, 8192, 16384, 32768]) {
      assert.equal(
        parseControlFile(patchedControlFile(FIELD.blockSize, blockSize), 'c').blockSize,
        blockSize,
      );
    }
  });

  const refusals: [string, number, number, ControlFileProblem, RegExp][] = [
    [
      'version 14',
      FIELD.catalogVersion,
      202107181,
      'version',
      /catalog version 202107181.*PostgreSQL 15.*18/,
    ],
    ['no block size', FIELD.blockSize, 8191, 'contents', /blocks have 8191 bytes/],
    ['a block size of 0', FIELD.blockSize, 0, 'contents', /blocks have 0 bytes/],
    ['too large a block size', FIELD.blockSize, 65536, 'contents', /blocks have 65536 bytes/],
    ['empty segments', FIELD.blocksPerSegment, 0, 'contents', /segments have 0 blocks/],
    ['a segment size beyond reason', FIELD.blocksPerSegment, 2 ** 31, 'contents', /2147483648 blocks/],
    ['an unknown state', FIELD.state, 7, 'contents', /state 7/],
    ['unknown checksums', FIELD.checksumVersion, 2, 'contents', /checksums of version 2/],
    ['foreign floats', FIELD.floatFormat, 1, 'contents', /floating-point/],
  ];
  for (const [what, offset, value, problem, message] of refusals) {
    it(`refuses ${what} with a sentence`, () => {
      assert.throws(
        () => parseControlFile(patchedControlFile(offset, value), 'c'),
        refused(problem, message),
      );
    });
  }

  it('refuses versions before and after those it understands, and names those', () => {
    for (const version of [1201, 1801, 1900, 0]) {
      const bytes = patchedControlFile(FIELD.controlVersion, version);
      const message = new RegExp(`"c" has format version ${version}; understood are 1300, 1700, 1800`);
      assert.throws(() => parseControlFile(bytes, 'c'), refused('version', message));
    }
  });

  it('recognises the other byte order', () => {
    const bytes = controlFixture('18');
    bytes.subarray(FIELD.controlVersion, FIELD.controlVersion + 4).reverse();
    assert.throws(() => parseControlFile(bytes, 'c'), refused('byteOrder', /other byte order/));
  });

  it('refuses a file that ends anywhere in its contents', () => {
    for (const name of ['15', '18'] as const) {
      const bytes = controlFixture(name);
      const size = name === '15' ? 292 : 296;
      for (let length = 0; length < size; length++) {
        assert.throws(
          () => parseControlFile(bytes.subarray(0, length), 'c'),
          refused('truncated', new RegExp(`only ${length} bytes`)),
        );
      }
      assert.ok(parseControlFile(bytes.subarray(0, size), 'c'));
    }
  });

  it('refuses every flipped bit in its contents', () => {
    const bytes = controlFixture('17');
    for (let bit = 0; bit < 292 * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => parseControlFile(bytes, 'c'), ControlFileError);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });
});

describe('readControlFile', () => {
  const home = mkdtempSync(join(tmpdir(), 'pgaio-control-'));
  after(() => rmSync(home, { recursive: true }));

  function dataDirectory(name: string, contents: Uint8Array): { directory: string; file: string } {
    const directory = join(home, name);
    mkdirSync(join(directory, 'global'), { recursive: true });
    const file = join(directory, 'global', 'pg_control');
    writeFileSync(file, contents);
    return { directory, file };
  }

  const noPause = async (): Promise<void> => undefined;

  it('reads the file of a data directory', async () => {
    const { directory, file } = dataDirectory('good', controlFixture('18'));
    const control = await readControlFile(directory);
    assert.equal(control.path, file);
    assert.equal(control.majorVersion, 18);
  });

  it('says that there is no control file, and what was expected', async () => {
    await assert.rejects(readControlFile(join(home, 'nowhere')), (error: ControlFileError) => {
      assert.match(error.hint ?? '', /data directory/);
      return refused('missing', /nowhere\/global\/pg_control" does not exist/)(error);
    });
  });

  it('says that it cannot be read', async () => {
    mkdirSync(join(home, 'odd', 'global', 'pg_control'), { recursive: true });
    await assert.rejects(readControlFile(join(home, 'odd')), refused('unreadable', /cannot be read: EISDIR/));
  });

  it('believes a wrong CRC when the file stays as it is', async () => {
    const damaged = controlFixture('18');
    damaged[100]! ^= 1;
    const { directory } = dataDirectory('damaged', damaged);
    await assert.rejects(readControlFile(directory, noPause), refused('crc', /CRC does not match/));
  });

  it('reads again when the server was writing', async () => {
    const torn = controlFixture('18');
    torn[100]! ^= 1;
    const { directory, file } = dataDirectory('torn', torn);
    const control = await readControlFile(directory, async () => writeFileSync(file, controlFixture('18')));
    assert.equal(control.majorVersion, 18);
  });

  it('gives up on a file that never comes to rest', async () => {
    const torn = controlFixture('18');
    torn[100]! ^= 1;
    const { directory, file } = dataDirectory('restless', torn);
    let reads = 1;
    const write = async (): Promise<void> => {
      torn[101] = reads++;
      writeFileSync(file, torn);
    };
    await assert.rejects(readControlFile(directory, write), refused('crc', /CRC/));
    assert.equal(reads, 10);
  });
});
