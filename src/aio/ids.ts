/** The ids that shared memory holds. What they stand for is bound in instance/registrations.ts. */

/** PostgreSQL's PgAioTargetID. */
export const TargetId = { FILE: 1, SMGR: 2, WAL: 3, FILE_BLOCKS: 4 } as const;

/** PostgreSQL's PgAioHandleCallbackID. */
export const CallbackId = {
  FILE_READV: 1,
  SMGR_READV: 2,
  SHARED_BUFFER_READV: 3,
  VERIFY_PAGES: 4,
  LOCAL_BUFFER_READV: 5,
  WAL_WRITEV: 6,
  WAL_SYNC: 7,
  SMGR_WRITEV: 8,
  SHARED_BUFFER_WRITEV: 9,
  LOCAL_BUFFER_WRITEV: 10,
  SMGR_SYNC: 11,
  FILE_WRITEV: 12,
  FILE_SYNC: 13,
  FILE_BLOCKS_READV: 14,
} as const;
