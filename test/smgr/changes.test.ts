/** Files of relations are made, extended, truncated and removed; also when the file system says no. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, fstatSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { RelationFileError } from '../../src/base/relation-file-error.js';
import type { Backend } from '../../src/instance/backend.js';
import { supportedMethods } from '../../src/instance/methods.js';
import { Fork, SEGMENT_BLOCKS } from '../../src/smgr/relation.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { fsError, withFs, type FsCalls, type RealFs } from '../../testing/fake-fs.js';
import { openRig, type Rig } from '../../testing/instances.js';
import { stampOf, stampedPage } from '../../testing/relations.js';

const BLOCK = 8192;
const SEG = SEGMENT_BLOCKS;

let rig: Rig;
let other: Backend;
let last = 100;

before(async () => {
  rig = await openRig({ ioMethod: 'sync' });
  other = await rig.attach();
});
after(async () => rig.close());

/** A relation as two backends see it, its main fork made. */
function fresh(): { mine: SmgrRelation; theirs: SmgrRelation; number: number; file: string } {
  const number = ++last;
  const [mine, theirs] = [rig.backend, other].map((backend) =>
    backend.openRelation(rig.data.path, { database: 5, relation: number }),
  ) as [SmgrRelation, SmgrRelation];
  mine.create(Fork.MAIN);
  return { mine, theirs, number, file: rig.data.file(number) };
}

const sizes = (file: string): number[] =>
  ['', '.1', '.2', '.3']
    .filter((end) => existsSync(file + end))
    .map((end) => statSync(file + end).size / BLOCK);

/** What both backends say; they must say the same. */
function blocks({ mine, theirs }: { mine: SmgrRelation; theirs: SmgrRelation }): number {
  const count = mine.blockCount(Fork.MAIN);
  assert.equal(theirs.blockCount(Fork.MAIN), count);
  return count;
}

function fill(relation: SmgrRelation, number: number, count: number): void {
  for (let block = 0; block < count; block++) relation.extend(Fork.MAIN, block, stampedPage(number, block));
}

describe('creating', () => {
  it('makes an empty file, once', () => {
    const number = ++last;
    const relation = rig.backend.openRelation(rig.data.path, { database: 5, relation: number });
    for (const fork of [Fork.MAIN, Fork.INIT]) {
      assert.equal(relation.exists(fork), false);
      relation.create(fork);
      assert.equal(relation.exists(fork), true);
      assert.equal(relation.blockCount(fork), 0);
    }
    assert.equal(statSync(`${rig.data.file(number)}_init`).size, 0);
    assert.throws(() => relation.create(Fork.MAIN), {
      name: 'RelationFileError',
      code: 'ERR_PGAIO_CREATE_EEXIST',
      path: rig.data.relativeFile(number),
      syscode: 'EEXIST',
      hint: /number/,
    });
  });

  it('gives the group a right to read if the data directory does', () => {
    const { file } = fresh();
    assert.equal(statSync(file).mode & 0o777, 0o600);
    chmodSync(rig.data.path, 0o750);
    const grouped = fresh();
    chmodSync(rig.data.path, 0o700);
    assert.equal(statSync(grouped.file).mode & 0o777, 0o640);
  });

  it('says that a directory is missing', () => {
    const relation = rig.backend.openRelation(rig.data.path, { database: 6, relation: 1 });
    assert.throws(() => relation.create(Fork.MAIN), { code: 'ERR_PGAIO_CREATE_ENOENT', hint: /directory/ });
    assert.equal(relation.unlink(), 0);
  });
});

describe('extending', () => {
  it('adds pages, which another backend sees', () => {
    const both = fresh();
    fill(both.mine, both.number, 3);
    assert.equal(blocks(both), 3);
    const bytes = readFileSync(both.file);
    for (let block = 0; block < 3; block++)
      assert.equal(stampOf(bytes.subarray(block * BLOCK, (block + 1) * BLOCK)).block, block);
  });

  it('goes on in a new segment, and leaves zeroes where blocks are passed over', () => {
    const both = fresh();
    both.mine.extend(Fork.MAIN, SEG - 1, stampedPage(both.number, SEG - 1));
    assert.equal(blocks(both), SEG);
    both.mine.zeroExtend(Fork.MAIN, SEG, 2);
    assert.deepEqual(sizes(both.file), [SEG, 2]);
    both.mine.extend(Fork.MAIN, 2 * SEG + 3, stampedPage(both.number, 2 * SEG + 3));
    assert.deepEqual(sizes(both.file), [SEG, SEG, 4]);
    assert.equal(blocks(both), 2 * SEG + 4);
    assert.ok(statSync(`${both.file}.1`).blocks * 512 < 10 * BLOCK, 'the gap is a hole');
    both.mine.unlink();
  });

  it('adds zeroes over a segment’s end, with space for them', () => {
    const both = fresh();
    both.mine.extend(Fork.MAIN, SEG - 41, stampedPage(both.number, SEG - 41));
    both.mine.zeroExtend(Fork.MAIN, SEG - 40, 100);
    assert.deepEqual(sizes(both.file), [SEG, 60]);
    assert.ok(statSync(`${both.file}.1`).blocks * 512 >= 60 * BLOCK, 'no hole');
    both.mine.unlink();
  });

  it('refuses what is no new block, no page, or beyond the last number', () => {
    const { mine } = fresh();
    mine.zeroExtend(Fork.MAIN, 0, 2);
    assert.throws(() => mine.extend(Fork.MAIN, 1, new Uint8Array(BLOCK)), RangeError);
    assert.throws(() => mine.extend(Fork.MAIN, 2, new Uint8Array(100)), RangeError);
    assert.throws(() => mine.zeroExtend(Fork.MAIN, 2, 0), RangeError);
    assert.throws(() => mine.zeroExtend(Fork.MAIN, 0.5, 1), RangeError);
    assert.throws(() => mine.zeroExtend(Fork.MAIN, 0xffff_fffe, 2), { code: 'ERR_PGAIO_EXHAUSTED' });
    assert.throws(() => mine.extend(Fork.VM, 0, new Uint8Array(BLOCK)), {
      code: 'ERR_PGAIO_EXTEND_ENOENT',
      hint: /Create the fork/,
    });
  });

  /** The disk is full after so many more bytes. */
  const fullAfter =
    (bytes: number) =>
    (real: RealFs): FsCalls => ({
      writeSync: (fd: number, data: Uint8Array, from: number, length: number, position: number) => {
        if (bytes === 0) throw fsError('ENOSPC');
        const now = Math.min(bytes, length);
        bytes -= now;
        return real.writeSync(fd, data, from, now, position);
      },
    });

  it('leaves the fork as it was when the disk is full, with a page torn or segments made', () => {
    const both = fresh();
    fill(both.mine, both.number, 2);
    const page = stampedPage(both.number, 2);
    withFs(fullAfter(5000), () => {
      assert.throws(() => both.mine.extend(Fork.MAIN, 2, page), {
        code: 'ERR_PGAIO_EXTEND_ENOSPC',
        path: rig.data.relativeFile(both.number),
        firstBlock: 2,
        lastBlock: 2,
        hint: 'Check free disk space.',
        detail: undefined,
      });
    });
    assert.equal(statSync(both.file).size, 2 * BLOCK);
    both.mine.extend(Fork.MAIN, SEG - 2, stampedPage(both.number, SEG - 2));
    withFs(fullAfter(2 * BLOCK), () => {
      assert.throws(() => both.mine.zeroExtend(Fork.MAIN, SEG - 1, 4), {
        path: `${rig.data.relativeFile(both.number)}.1`,
        message: /at blocks 131071\.\.131074: ENOSPC/,
      });
    });
    assert.deepEqual(sizes(both.file), [SEG - 1]);
    assert.equal(blocks(both), SEG - 1);
    both.mine.unlink();
  });

  it('says what is left when even that fails; the torn part is no block', () => {
    const both = fresh();
    fill(both.mine, both.number, 2);
    const page = stampedPage(both.number, 2);
    const stuck = (real: RealFs): FsCalls => ({
      ...fullAfter(5000)(real),
      truncateSync: () => {
        throw fsError('EIO');
      },
    });
    withFs(stuck, () => {
      assert.throws(() => both.mine.extend(Fork.MAIN, 2, page), {
        code: 'ERR_PGAIO_EXTEND_ENOSPC',
        detail: /had 16384 bytes before and could not be made so again/,
      });
    });
    assert.equal(statSync(both.file).size, 2 * BLOCK + 5000);
    assert.equal(blocks(both), 2);
    both.mine.extend(Fork.MAIN, 2, page);
    assert.equal(statSync(both.file).size, 3 * BLOCK);
  });
});

describe('truncating', () => {
  it('cuts over segments, keeps later files, and everybody knows the new end', () => {
    const both = fresh();
    both.mine.extend(Fork.MAIN, 2 * SEG + 3, stampedPage(both.number, 2 * SEG + 3));
    assert.equal(blocks(both), 2 * SEG + 4);
    const steps: [to: number, files: number[]][] = [
      [2 * SEG + 4, [SEG, SEG, 4]],
      [2 * SEG + 1, [SEG, SEG, 1]],
      [2 * SEG, [SEG, SEG, 0]],
      [SEG + 7, [SEG, 7, 0]],
      [SEG, [SEG, 0, 0]],
      [5, [5, 0, 0]],
      [0, [0, 0, 0]],
    ];
    for (const [to, files] of steps) {
      both.mine.truncate(Fork.MAIN, to);
      assert.deepEqual(sizes(both.file), files);
      assert.equal(blocks(both), to);
    }
    both.theirs.extend(Fork.MAIN, SEG, stampedPage(both.number, SEG));
    assert.deepEqual(sizes(both.file), [SEG, 1, 0]);
    assert.equal(blocks(both), SEG + 1);
    both.mine.truncate(Fork.MAIN, 0);
    assert.equal(both.mine.unlink(), 3);
  });

  it('finds the end also where somebody outside truncated', () => {
    const both = fresh();
    both.mine.extend(Fork.MAIN, 2 * SEG + 3, stampedPage(both.number, 2 * SEG + 3));
    assert.equal(blocks(both), 2 * SEG + 4);
    for (const [end, size] of [
      ['.2', 0],
      ['.1', 0],
      ['', 3 * BLOCK],
    ] as const)
      truncateSync(both.file + end, size);
    assert.equal(blocks(both), 3);
    both.mine.unlink();
  });

  it('refuses to lengthen, and says what the file system refused', () => {
    const both = fresh();
    fill(both.mine, both.number, 3);
    assert.throws(() => both.mine.truncate(Fork.MAIN, 4), {
      name: 'RangeError',
      message: /only 3 blocks/,
    });
    assert.throws(() => both.mine.truncate(Fork.MAIN, -1), RangeError);
    const refuse = (): Record<string, () => never> => ({
      ftruncateSync: () => {
        throw fsError('EIO');
      },
    });
    withFs(refuse, () => {
      assert.throws(() => both.mine.truncate(Fork.MAIN, 1), {
        code: 'ERR_PGAIO_TRUNCATE_EIO',
        operation: 'truncate',
        firstBlock: 1,
      });
    });
    assert.equal(blocks(both), 3);
  });

  it('raises the epoch of every entry of the file, and of no other', () => {
    const both = fresh();
    fill(both.mine, both.number, 2);
    const { vfds } = rig.backend.files;
    const reader = vfds.open(both.file);
    const writer = vfds.open(both.file, { write: true });
    const bystander = vfds.open(join(rig.data.path, 'PG_VERSION'));
    both.theirs.truncate(Fork.MAIN, 1);
    assert.deepEqual(
      [reader, writer, bystander].map((vfd) => vfds.isCurrent(vfd)),
      [false, false, true],
    );
    for (const vfd of [reader, writer, bystander]) vfds.close(vfd);
  });
});

describe('removing', () => {
  it('removes every segment of every fork; another backend notices, and sees the relation made again', () => {
    const both = fresh();
    fill(both.mine, both.number, 2);
    both.mine.extend(Fork.MAIN, SEG, stampedPage(both.number, SEG));
    both.mine.create(Fork.VM);
    both.mine.create(Fork.INIT);
    assert.equal(blocks(both), SEG + 1);
    assert.equal(both.mine.unlink(Fork.INIT), 1);
    assert.equal(both.mine.unlink(), 3);
    assert.equal(both.mine.exists(Fork.MAIN), false);
    assert.equal(blocks(both), 0);
    both.mine.create(Fork.MAIN);
    both.mine.zeroExtend(Fork.MAIN, 0, 7);
    assert.equal(blocks(both), 7);
    both.theirs.extend(Fork.MAIN, 7, stampedPage(both.number, 7));
    assert.equal(blocks(both), 8);
    assert.equal(both.mine.unlink(), 1);
    assert.equal(both.mine.unlink(), 0, 'nothing is left to remove');
  });

  it('gives the space back while another backend has the file open', () => {
    const both = fresh();
    fill(both.mine, both.number, 3);
    const { vfds } = other.files;
    const open = vfds.open(both.file);
    both.mine.unlink();
    const { nlink, size } = fstatSync(vfds.useOrThrow(open));
    assert.deepEqual([nlink, size], [0, 0]);
    vfds.close(open);
  });

  it('goes on where it failed', () => {
    const both = fresh();
    both.mine.extend(Fork.MAIN, 2 * SEG, stampedPage(both.number, 2 * SEG));
    let left = 1;
    const refuse = (real: RealFs): Record<string, (path: string) => void> => ({
      unlinkSync: (path) => {
        if (left-- === 0) throw fsError('EROFS');
        real.unlinkSync(path);
      },
    });
    withFs(refuse, () => {
      assert.throws(
        () => both.mine.unlink(),
        (error: RelationFileError) => {
          assert.equal(error.code, 'ERR_PGAIO_REMOVE_EROFS');
          assert.equal(error.path, `${rig.data.relativeFile(both.number)}.1`);
          assert.match(error.hint ?? '', /read-only/);
          return true;
        },
      );
    });
    assert.equal(both.mine.unlink(), 2);
    assert.deepEqual(sizes(both.file), []);
  });
});

it('synchronizes every segment', () => {
  const both = fresh();
  both.mine.extend(Fork.MAIN, SEG, stampedPage(both.number, SEG));
  both.mine.truncate(Fork.MAIN, 1);
  let synced = 0;
  withFs(
    () => ({ fsyncSync: () => synced++ }),
    () => both.mine.immediateSync(Fork.MAIN),
  );
  assert.equal(synced, 2);
  const refuse = (): Record<string, () => never> => ({
    fsyncSync: () => {
      throw fsError('EIO');
    },
  });
  withFs(refuse, () => {
    assert.throws(() => both.mine.immediateSync(Fork.MAIN), { code: 'ERR_PGAIO_SYNC_EIO', hint: /storage/ });
  });
  both.mine.unlink();
});

it('MA-03: what was written under one method is read under every other', async () => {
  const rigs = await Promise.all(supportedMethods().map((ioMethod) => openRig({ ioMethod })));
  for (const writing of rigs) {
    const number = ++last;
    const relation = writing.backend.openRelation(rig.data.path, { database: 5, relation: number });
    relation.create(Fork.MAIN);
    fill(relation, number, 20);
    for (const reading of rigs) {
      const seen: number[] = [];
      const again = reading.backend.openRelation(rig.data.path, { database: 5, relation: number });
      for await (const buffer of reading.backend.readStream(again)) {
        const stamp = stampOf(buffer.page);
        assert.equal(stamp.relation, number);
        seen.push(stamp.block);
      }
      assert.deepEqual(seen, [...Array(20).keys()]);
    }
  }
  await Promise.all(rigs.map((one) => one.close()));
});
