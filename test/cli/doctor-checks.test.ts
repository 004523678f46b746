/** Checks of `pgaio doctor` on machines that this one is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileSystemKind } from '../../src/cli/doctor/file-systems.js';
import { checkLockedMemory, checkOpenFiles } from '../../src/cli/doctor/limits.js';
import {
  checkAddon,
  checkCores,
  checkHugePages,
  checkIoUring,
  checkMemory,
  checkNode,
  checkPlatform,
} from '../../src/cli/doctor/machine.js';
import { autoMethod } from '../../src/instance/methods.js';
import { recommend } from '../../src/cli/doctor/recommendation.js';
import { resolveSettings } from '../../src/base/settings.js';
import { probeIoUring, type Machine } from '../../src/native/io-uring-support.js';
import { machineWith } from '../native/fake-machine.js';

const MB = 2 ** 20;
const DEFAULTS = resolveSettings({}, { name: 'worker', reason: '' });
const EINVAL = 22;

/** As in /proc/self/limits. */
function limits(openFiles: string, lockedMemory: string): Record<string, string> {
  const text =
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
    `Max locked memory         ${lockedMemory.padEnd(21)}${lockedMemory.padEnd(21)}bytes     \n` +
    `Max open files            ${openFiles.padEnd(21)}524288               files     \n`;
  return { '/proc/self/limits': text };
}

test('Node', () => {
  assert.equal(checkNode('>=20.19', '20.19.0').status, 'ok');
  assert.equal(checkNode('>=20.19', '24.1.0').status, 'ok');
  const { status, summary, advice } = checkNode('>=20.19', '20.18.3');
  assert.deepEqual([status, advice], ['problem', 'Install Node 20.19 or newer.']);
  assert.equal(summary, '20.18.3 is too old: 20.19 or newer is needed');
});

test('another platform', () => {
  const machine: Machine = {
    ...machineWith({}, { release: '24.5.0' }),
    platform: 'darwin',
    addon: null,
    whyNoAddon: 'the native addon is for Linux, this is darwin',
    readText: () => null,
  };
  const support = probeIoUring({ machine });
  assert.equal(checkPlatform(machine).status, 'warning');
  assert.equal(checkAddon(machine, support).status, 'warning');
  assert.match(checkIoUring(support).advice ?? '', /ioMethod 'worker'/);
  assert.deepEqual(
    [...checkOpenFiles(machine, DEFAULTS), ...checkLockedMemory(machine), ...checkHugePages(machine)],
    [],
  );
  assert.deepEqual(autoMethod(support), {
    name: 'worker',
    reason: 'io_uring is part of Linux, and this is darwin',
  });
});

test('io_uring with mapped rings', () => {
  const support = probeIoUring({ machine: machineWith({ ownMemory: EINVAL, operations: [0, 1, 2, 3] }) });
  const { status, detail } = checkIoUring(support);
  assert.equal(status, 'ok');
  assert.match(detail ?? '', /^rings have to be mapped \(.*EINVAL.*\); features 0x107; no READ or WRITE/);
  assert.equal(autoMethod(support).name, 'io_uring');
});

test('open files', () => {
  const check = (openFiles: string): (string | undefined)[] =>
    checkOpenFiles(machineWith({}, { files: limits(openFiles, '8388608') }), DEFAULTS).map(
      ({ status }) => status,
    );
  assert.deepEqual(check('unlimited'), ['ok']);
  assert.deepEqual(check('1218'), ['ok']);
  assert.deepEqual(check('1217'), ['warning']);
  assert.deepEqual(check('282'), ['warning']);
  assert.deepEqual(check('281'), ['problem']);
});

test('locked memory counts for old kernels only', () => {
  const check = (release: string, locked: string): ReturnType<typeof checkLockedMemory> =>
    checkLockedMemory(machineWith({}, { release, files: limits('1024', locked) }));
  assert.deepEqual(
    check('5.12.0', '65536').map(({ status }) => status),
    ['ok'],
  );
  assert.deepEqual(
    check('5.11.22', 'unlimited').map(({ status }) => status),
    ['ok'],
  );
  const [old] = check('5.11.22', '65536');
  assert.equal(old?.status, 'warning');
  assert.match(old?.advice ?? '', /`ulimit -l 240`, or LimitMEMLOCK=240K/);
});

test('memory', () => {
  const facts = { total: 4096 * MB, available: 1024 * MB, limit: 2048 * MB };
  const enough = checkMemory(DEFAULTS, facts);
  assert.deepEqual([enough.status, enough.summary], ['ok', '4.0 GB, limited to 2.0 GB, 1.0 GB available']);
  const scarce = checkMemory(DEFAULTS, { ...facts, available: 100 * MB });
  assert.match(scarce.advice ?? '', /set sharedBuffers to 25MB/);
});

test('huge pages', () => {
  const file = '/sys/kernel/mm/transparent_hugepage/enabled';
  const check = (text: string): (string | undefined)[] => {
    const [found] = checkHugePages(machineWith({}, { files: { [file]: text } }));
    return [found?.status, found?.summary, found?.detail];
  };
  // Pgaio does not ask for them, so only `always` gives it any; see docs/decisions/0017.
  assert.deepEqual(check('[always] madvise never\n'), [
    'ok',
    'transparent huge pages: always',
    'all large memory gets them',
  ]);
  for (const [text, mode] of [
    ['always [madvise] never\n', 'madvise'],
    ['always madvise [never]\n', 'never'],
  ]) {
    const none = 'the pool gets none; measured, it gains nothing by them';
    assert.deepEqual(check(text ?? ''), ['ok', `transparent huge pages: ${mode}`, none]);
  }
});

test('cores', () => {
  assert.match(checkCores(1).summary, /^1 core: 2 to 8 /);
  assert.match(checkCores(6).summary, /^6 cores: 6 to 12 /);
  assert.match(checkCores(64).summary, /^64 cores: 8 to 32 /);
});

test('file systems, however the kernel signs their numbers', () => {
  assert.equal(fileSystemKind(0xef53).name, 'ext4');
  assert.equal(fileSystemKind(0x9123683e | 0).name, 'btrfs');
  assert.equal(fileSystemKind(0x1234).name, 'unknown (0x1234)');
  assert.match(fileSystemKind(0x794c7630).caveat?.advice ?? '', /volume/);
});

test('what is recommended follows from what was found', () => {
  const memory = { total: 1024 * MB, available: 100 * MB, limit: 0 };
  const circumstances = {
    cores: 4,
    memory,
    openFiles: 1024,
    kind: fileSystemKind(0x6969),
    defaults: DEFAULTS,
  };
  const { settings, reasons } = recommend({ name: 'worker', reason: '' }, circumstances);
  assert.deepEqual(settings, {
    ioMethod: 'auto',
    ioMinWorkers: 4,
    ioMaxWorkers: 32,
    maxFilesPerProcess: 806,
    sharedBuffers: '25MB',
  });
  assert.deepEqual(Object.keys(reasons), Object.keys(settings));
});
