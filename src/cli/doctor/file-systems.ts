/** File systems by the number that statfs(2) gives, and what there is to know about some of them. */

export interface FileSystemKind {
  readonly name: string;
  /** What one should know, and what to do about it. */
  readonly caveat?: { readonly means: string; readonly advice: string };
  /** Every read is a message to another machine. */
  readonly remote?: true;
}

function remote(name: string): FileSystemKind {
  return {
    name,
    remote: true,
    caveat: {
      means: 'every read is a round trip over the network, and the server decides what is safe on disk',
      advice: 'Use many I/O workers (ioMaxWorkers 32), and keep a cluster that matters on a local disk.',
    },
  };
}

function inMemory(name: string): FileSystemKind {
  return {
    name,
    caveat: {
      means: 'files are in memory: reads never wait, and all is lost at a restart',
      advice: 'Use it for tests; there is no I/O to be made asynchronous here, so sync does as well.',
    },
  };
}

const KINDS: Readonly<Record<number, FileSystemKind>> = {
  0xef53: { name: 'ext4' }, // or ext2, ext3
  0x58465342: { name: 'xfs' },
  0x9123683e: { name: 'btrfs' },
  0x2fc12fc1: { name: 'zfs' },
  0xf2f52010: { name: 'f2fs' },
  0xca451a4e: { name: 'bcachefs' },
  0x3153464a: { name: 'jfs' },
  0x52654973: { name: 'reiserfs' },
  0x7366746e: { name: 'ntfs' },
  0x4d44: { name: 'vfat' },
  0x2011bab0: { name: 'exfat' },
  0x9660: { name: 'iso9660' },
  0x73717368: { name: 'squashfs' },
  0xe0f5e1e2: { name: 'erofs' },
  0x01161970: { name: 'gfs2' },
  0x7461636f: { name: 'ocfs2' },
  0x01021994: inMemory('tmpfs'),
  0x858458f6: inMemory('ramfs'),
  0x6969: remote('nfs'),
  0xff534d42: remote('cifs'),
  0xfe534d42: remote('smb'),
  0x00c36400: remote('ceph'),
  0x0bd00bd0: remote('lustre'),
  0x5346414f: remote('afs'),
  0x01021997: remote('9p'),
  0x65735546: {
    name: 'fuse',
    caveat: {
      means: 'a program serves it: how fast it is, and whether O_DIRECT goes past a cache, depends on that',
      advice: 'Measure before you rely on it; what was tried below is what it can do.',
    },
  },
  0x794c7630: {
    name: 'overlay',
    caveat: {
      means: 'layers of a container: the first write to a file of a lower layer copies all of it',
      advice: 'Keep data in a volume (`docker run -v`), which is a file system of the host.',
    },
  },
};

export function fileSystemKind(magic: number): FileSystemKind {
  const unsigned = magic >>> 0;
  return KINDS[unsigned] ?? { name: `unknown (0x${unsigned.toString(16)})` };
}
