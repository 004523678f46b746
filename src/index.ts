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
export type { InstanceStats, IoLatencies, IoStatsRow } from './stats/io-stats-view.js';
export type { BackendType, IoContext, IoObject, IoOperation, IoWay } from './stats/io-stats.js';
export { LatencyHistogram, type HistogramData } from './stats/latency-histogram.js';
export type { IoTrace } from './aio/tracing.js';
export type { Monitor } from './instance/monitor.js';
export { MonitorError } from './instance/monitor-socket.js';
export type { Snapshot } from './instance/snapshot.js';
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
export { FileHandle, type ReadManyOptions } from './file/file-handle.js';
export {
  CachedFile,
  KeptRange,
  type ByteRange,
  type PrewarmOptions,
  type Residency,
} from './cache/cached-file.js';
export { FileReadStream } from './file/file-read-stream.js';
export { FileWriteStream } from './file/file-write-stream.js';
export type {
  FileReadStreamOptions,
  FileStreamOptions,
  FileWriteStreamOptions,
} from './file/stream-options.js';
export type { WebReadOptions, WebWriteOptions } from './file/web-streams.js';
export type { OpenReadStreamOptions, OpenWriteStreamOptions } from './instance/backend-files.js';
export type { Position, TransferOptions } from './file/file-arguments.js';
export { IoBuffer } from './file/io-buffer.js';
export type { ReadRange } from './file/many-reads.js';
export type { OpenFileOptions } from './instance/backend-files.js';
export { AbortError, FileError, type FileSyscall } from './base/file-error.js';
