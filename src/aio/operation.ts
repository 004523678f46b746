/** What an I/O does, and what there is to know about how: words of its handle. */

export const Operation = { NONE: 0, READV: 1, WRITEV: 2, FSYNC: 3 } as const;
export type Operation = (typeof Operation)[keyof typeof Operation];
export const operationNames = ['invalid', 'readv', 'writev', 'fsync'] as const;

export const HandleFlag = {
  /** The memory, or the work after it, belongs to the issuing thread alone. */
  REFERENCES_LOCAL: 1,
  /** Run it in the issuer, now. */
  SYNCHRONOUS: 2,
  /** Through the page cache. */
  BUFFERED: 4,
  /** For FSYNC: fdatasync(2), which leaves out metadata that reading the data does not need. */
  DATA_ONLY: 8,
  /** For FSYNC: its executor is about to make the system call, or has. Set by that. */
  BEGUN: 16,
} as const;
