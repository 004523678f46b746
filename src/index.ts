/**
 * pgaio: PostgreSQL's asynchronous I/O subsystem for Node.js.
 */
export { createInstance, attachInstance, Instance, type CreateOptions } from './instance/instance.js';
export { supportedMethods } from './instance/methods.js';
export { Backend } from './instance/backend.js';
export type { DiscardOptions, RelationOptions, StreamOptions } from './instance/relation-options.js';
export { BackendWal } from './instance/backend-wal.js';
export type { BackendWait, DatabaseChecksumFailures } from './instance/views.js';
export type { InstanceHandle } from './instance/shared-state.js';
export type {
  InstanceSettings,
  IoMethodName,
  ResolvedSettings,
  WalSettings,
  WalSyncMethod,
} from './base/settings.js';
export type { LogEvent, LogLevel, LogSink } from './base/log.js';
export { AssertionFailure } from './base/assert.js';
export {
  ClosedError,
  InstanceCrashedError,
  InvalidPageError,
  IoError,
  MethodUnavailableError,
  PgaioError,
  PrivateRelationError,
  ReadFailedError,
  ResourceExhaustedError,
  SettingError,
  ShortReadError,
} from './base/errors.js';
export { BuffersPinnedError } from './base/buffers-pinned-error.js';
export { RelationFileError, type RelationFileOperation } from './base/relation-file-error.js';
export { WalFileError, WalPositionError, WalReadError, type WalFileOperation } from './base/wal-errors.js';
export { PageChangeError, type LoggedPageChange } from './instance/logged-change.js';
export { initPage, setPageLower, setPageUpper } from './page/init-page.js';
export { formatLsn, parseLsn, type Lsn } from './wal/lsn.js';
export { ControlFileError } from './recovery/control-file.js';
export { DataDirectoryError } from './recovery/data-directory.js';
export { DataDirectoryInUseError } from './recovery/lock-file.js';
export { RecoveryError } from './recovery/recovery-error.js';
export type { MessageOptions, WalMessage } from './recovery/read-messages.js';
export type { RecoveryResult } from './recovery/recover.js';
export { Scope } from './aio/scope.js';
export type { InFlightIo } from './aio/in-flight.js';
export { PinnedBuffer } from './buffer/pinned-buffer.js';
export { BufferStream } from './read-stream/buffer-stream.js';
export { END_OF_STREAM, YIELD, type NextBlock } from './read-stream/stream-options.js';
export type { ReadStreamStats } from './read-stream/stream-stats.js';
export { listedBlocks, markBatchSafe, sequentialBlocks } from './read-stream/block-sources.js';
export { bitmapBlocks } from './read-stream/bitmap-blocks.js';
export { SKIP_PAGES_THRESHOLD, VacuumBlocks, type VacuumBlocksOptions } from './read-stream/vacuum-blocks.js';
export { VisibilityBit, VisibilityMap } from './read-stream/visibility-map.js';
export { BufferStrategy, type StrategyKind } from './buffer/strategy.js';
export { Fork, type RelationLocator } from './smgr/relation.js';
export { SmgrRelation } from './smgr/smgr.js';
export { File } from './vfd/file.js';
