/** Every reason for which a kernel may refuse io_uring is told apart, with what to do; here, it is tried for real. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { constants, release } from 'node:os';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Limit, loadAddon, whyNoAddon } from '../../src/native/addon.js';
import {
  describeSetupFailure,
  ioUringReason,
  probeIoUring,
  type IoUringUnavailable,
  type Machine,
} from '../../src/native/io-uring-support.js';
import { thisMachine } from '../../src/native/io-uring-refusal.js';
import { ALL_FEATURES, FILTER, machineWith, NO_FILTER } from './fake-machine.js';

const { EPERM, EACCES, ENOSYS, EMFILE, ENFILE, ENOMEM, EINVAL, EAGAIN } = constants.errno;
const NEED = { descriptors: 1234, lockedBytes: 256 * 1024 };
const DISABLED = '/proc/sys/kernel/io_uring_disabled';
const GROUP = '/proc/sys/kernel/io_uring_group';
const STATUS = '/proc/self/status';

/** Refused with this cause; nothing is left behind, and both sentences have their form. */
function refused(
  machine: Machine,
  cause: IoUringUnavailable['cause'],
  ...says: RegExp[]
): IoUringUnavailable {
  const support = probeIoUring({ machine, need: NEED });
  assert.ok(!support.available);
  assert.equal(support.cause, cause, support.message);
  assert.match(support.message, /[^.]$/);
  assert.match(support.hint, /^[A-Z].*\.$/s);
  for (const pattern of says) assert.match(`${support.message}. ${support.hint}`, pattern);
  return support;
}

describe('a kernel that has all of it', () => {
  it('with rings in our memory', () => {
    const machine = machineWith({});
    assert.deepEqual(probeIoUring({ machine }), {
      available: true,
      kernel: '6.8.0-45-generic',
      features: ALL_FEATURES,
      ownMemory: true,
      ownMemoryErrno: 0,
      hasRead: true,
      hasWrite: true,
    });
    assert.deepEqual([machine.addon.rings, machine.addon.memories], [0, 0]);
  });

  it('with mapped rings, before Linux 6.5', () => {
    const machine = machineWith({ ownMemory: EINVAL, operations: [0, 1, 2, 3] }, { release: '6.1.0' });
    const support = probeIoUring({ machine });
    assert.ok(support.available);
    assert.deepEqual([support.ownMemory, support.ownMemoryErrno], [false, EINVAL]);
    assert.deepEqual([support.hasRead, support.hasWrite], [false, false]);
    assert.deepEqual([machine.addon.rings, machine.addon.memories], [0, 0]);
  });
});

describe('io_uring is refused', () => {
  it('on another platform', () => {
    refused({ ...machineWith({}), platform: 'darwin' }, 'platform', /this is darwin/, /ioMethod 'worker'/);
  });

  it('D-86: without the addon', () => {
    const without = (why: string): Machine => ({ ...machineWith({}), addon: null, whyNoAddon: why });
    refused(without('the native addon was not built'), 'addon', /not built/, /C compiler.*npm rebuild pgaio/);
    refused(without('PGAIO_NO_ADDON is set'), 'addon', /Unset the environment variable PGAIO_NO_ADDON/);
  });

  it('D-86: by a kernel without it', () => {
    const { errno } = refused(machineWith({ setup: ENOSYS }), 'system-call', /CONFIG_IO_URING/);
    assert.equal(errno, ENOSYS);
    const old = machineWith({ setup: ENOSYS }, { release: '4.18.0-513.el8' });
    refused(old, 'kernel', /Linux 4\.18\.0-513\.el8 is too old: it has no io_uring; 5\.11 is needed/);
  });

  it('by a seccomp filter that hides it', () => {
    refused(
      machineWith({ setup: ENOSYS }, { files: { [STATUS]: FILTER } }),
      'seccomp',
      /--security-opt seccomp=/,
    );
  });

  it('D-86: by a seccomp filter that forbids it', () => {
    const files = { [STATUS]: FILTER, [DISABLED]: '0\n', [GROUP]: '-1\n' };
    const { errno } = refused(
      machineWith({ setup: EPERM }, { files }),
      'seccomp',
      /docker run --security-opt/,
    );
    assert.equal(errno, EPERM);
    refused(machineWith({ enter: EPERM }, { files }), 'seccomp', /io_uring_enter/);
    refused(machineWith({ probe: EPERM }, { files }), 'seccomp', /io_uring_register/);
  });

  it('D-86: by sysctl, to everybody', () => {
    const files = { [DISABLED]: '2\n', [STATUS]: FILTER };
    refused(
      machineWith({ setup: EPERM }, { files }),
      'disabled',
      /is 2\)/,
      /sysctl -w kernel\.io_uring_disabled=0/,
    );
  });

  it('by sysctl, to those who are not privileged', () => {
    const files = { [DISABLED]: '1\n', [GROUP]: '-1\n' };
    refused(
      machineWith({ setup: EPERM }, { files }),
      'disabled',
      /is 1\)/,
      /set kernel\.io_uring_group to a group/,
    );
    const withGroup = { ...files, [GROUP]: '990\n' };
    refused(
      machineWith({ setup: EPERM }, { files: withGroup }),
      'disabled',
      /members of group 990/,
      /add this user/,
    );
  });

  it('by something else, when the sysctl would let us through', () => {
    const files = { [DISABLED]: '1\n', [GROUP]: '990\n' };
    const privileged = FILTER.replace('CapEff:\t0000000000000000', 'CapEff:\t000001ffffffffff');
    const member = FILTER.replace('Groups:\t100', 'Groups:\t100 990');
    for (const status of [privileged, member]) {
      refused(machineWith({ setup: EPERM }, { files: { ...files, [STATUS]: status } }), 'seccomp');
    }
    refused(
      machineWith({ setup: EPERM }, { files: { [STATUS]: NO_FILTER } }),
      'forbidden',
      /SELinux or AppArmor/,
    );
  });

  it('by a security module', () => {
    refused(machineWith({ setup: EACCES }), 'forbidden', /EACCES/, /AppArmor/);
  });

  it('D-86: for want of descriptors', () => {
    const limits = { [Limit.OPEN_FILES]: 64 };
    refused(machineWith({ setup: EMFILE, limits }), 'descriptors', /is 64, at least 1234/, /ulimit -n 1234/);
    refused(machineWith({ setup: ENFILE }), 'descriptors', /fs\.file-max/);
  });

  it('for want of memory that may be locked, by old kernels', () => {
    const limits = { [Limit.LOCKED_MEMORY]: 64 * 1024 };
    const old = machineWith({ setup: ENOMEM, limits }, { release: '5.11.0' });
    refused(old, 'memory', /is 64 kB, 256 kB are needed/, /ulimit -l 256`, LimitMEMLOCK=256K/);
    refused(
      machineWith({ setup: ENOMEM, limits }),
      'memory',
      /no memory.*ENOMEM/,
      /memory limit of the container/,
    );
  });

  it('by kernels that are too old for us', () => {
    const lacks = (bit: number): Machine =>
      machineWith({ features: ALL_FEATURES & ~bit }, { release: '5.10.0' });
    refused(lacks(1 << 8), 'kernel', /Linux 5\.10\.0 is too old: its io_uring cannot wait with a timeout/);
    for (const bit of [1 << 0, 1 << 1, 1 << 2]) refused(lacks(bit), 'kernel', /5\.11 is needed/);
  });

  it('without an operation', () => {
    const machine = machineWith({ operations: [0, 1, 22, 23] });
    refused(machine, 'operation', /has no WRITEV, FSYNC/);
    assert.deepEqual([machine.addon.rings, machine.addon.memories], [0, 0]);
  });

  it('when it does not do what it is told', () => {
    refused(machineWith({ nop: null }), 'other', /did not complete a NOP/);
    refused(machineWith({ nop: -EINVAL }), 'other', /EINVAL/);
    refused(machineWith({ setup: EAGAIN }), 'other', /EAGAIN/);
  });

  it('when mapped memory cannot be seen', () => {
    refused(machineWith({ ownMemory: EINVAL, hidden: true }), 'other', /this Node cannot show it/);
  });
});

const noAddon = loadAddon() === null && whyNoAddon();

describe('this kernel', () => {
  const support = probeIoUring();

  it('is asked once', () => {
    assert.equal(probeIoUring(), support);
    assert.equal(ioUringReason(), support.available ? null : support.message);
  });

  it('maps a ring if that is all it can', { skip: noAddon || ioUringReason() || false }, () => {
    const machine = thisMachine();
    const { addon } = machine;
    assert.ok(addon !== null);
    // What an addon's functions are bound to does not matter to them.
    const mapping = {
      ...addon,
      ringSetup: (...given: Parameters<typeof addon.ringSetup>) =>
        given[1] >= 0 ? -EINVAL : addon.ringSetup(...given),
    };
    const mapped = probeIoUring({ machine: { ...machine, addon: mapping } });
    assert.ok(mapped.available);
    assert.equal(mapped.ownMemory, false);
  });

  it('has room for larger rings', { skip: noAddon || ioUringReason() || false }, () => {
    assert.ok(probeIoUring({ entries: 1024 }).available);
  });

  it('describes an errno without being asked for io_uring', { skip: noAddon }, () => {
    const refusal = describeSetupFailure(EMFILE, NEED);
    assert.match(refusal.message, /the limit on open files is (\d+|Infinity), at least 1234/);
  });
});

/** Runs a program that prints what `probeIoUring` says, by a command line of the shell that ends in the program. */
async function probeUnder(shell: string, before = ''): Promise<IoUringUnavailable> {
  const url = (name: string): string => new URL(`../../src/native/${name}.js`, import.meta.url).href;
  const program = `
    import { openSync } from 'node:fs';
    import { loadAddon } from '${url('addon')}';
    import { probeIoUring } from '${url('io-uring-support')}';
    loadAddon();
    ${before}
    process.stdout.write(JSON.stringify(probeIoUring()));`;
  const node = [process.execPath, '--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', shell, 'sh', ...node]);
  return JSON.parse(stdout) as IoUringUnavailable;
}

/** Its number, by architecture. */
const PRCTL: Readonly<Record<string, number>> = { x64: 157, arm64: 167, riscv64: 167 };

describe('for real', { skip: noAddon || ioUringReason() || false }, () => {
  it('D-86: too few descriptors', async () => {
    const fill =
      "try { for (;;) openSync('/dev/null'); } catch (error) { if (error.code !== 'EMFILE') throw error; }";
    const { cause, errno, message } = await probeUnder('ulimit -n 64; exec "$@"', fill);
    assert.deepEqual([cause, errno], ['descriptors', EMFILE]);
    assert.match(message, /the limit on open files is 64, at least 1\d{3} are needed/);
  });

  // Perl can make any system call, which Node cannot: PR_SET_NO_NEW_PRIVS, then PR_SET_SECCOMP with a filter that
  // loads the call's number and gives the errno if it is io_uring_setup's.
  const filtered = (refusal: number): string => `
    my ($prctl, $errno) = (${PRCTL[process.arch] ?? 0}, ${refusal});
    my $filter = pack("(SCCL)4", 0x20,0,0,0, 0x15,0,1,425, 0x06,0,0,0x50000+$errno, 0x06,0,0,0x7fff0000);
    my $program = pack("S x!8 P32", 4, $filter);
    syscall($prctl, 38, 1, 0, 0, 0) == 0 && syscall($prctl, 22, 2, $program) == 0 or die $!;
    exec @ARGV;`;
  const noFilter =
    (PRCTL[process.arch] === undefined && 'the number of prctl(2) here is not known') ||
    (spawnSync('perl', ['-v']).status !== 0 && 'there is no Perl to set a seccomp filter with');
  for (const errno of [EPERM, ENOSYS]) {
    it(`D-86: a seccomp filter that answers ${errno}`, { skip: noFilter }, async () => {
      const refusal = await probeUnder(`exec perl -e '${filtered(errno)}' "$@"`);
      assert.deepEqual([refusal.cause, refusal.errno], ['seccomp', errno]);
    });
  }

  it('the release is that of the kernel', () => {
    const support = probeIoUring();
    assert.ok(support.available);
    assert.equal(support.kernel, release());
  });
});
