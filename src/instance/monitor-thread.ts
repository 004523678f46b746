/**
 * Entry of a monitor's thread: a Unix socket, to which it writes a snapshot of the instance when somebody connects, and
 * another for each line that comes. A thread of its own, so that the program is not kept from its work, and one that is
 * too busy to answer can be looked at. It has no slot and holds nothing: it may end at any instant.
 *
 * While somebody is connected, clocks are read for everybody's I/O.
 */
import { createServer, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { LogEvent } from '../base/log.js';
import { Timing } from '../stats/io-stats.js';
import { IoStatsView } from '../stats/io-stats-view.js';
import { listenPrivately, MonitorError } from './monitor-socket.js';
import type { InstanceHandle } from './shared-state.js';
import { Snapshots } from './snapshot.js';
import { AttachedMemory, ThreadParts, loadModules } from './thread-parts.js';

const CONNECTIONS_MAX = 16;
const NEWLINE = 10;

const { handle, path } = workerData as { handle: InstanceHandle; path: string };
const memory = new AttachedMemory(handle);
memory.header.checkLayout(memory.layout);
const tellLog = (log: LogEvent): void => parentPort?.postMessage({ log });
// It only looks, so it may look from where the supervisor does.
const parts = new ThreadParts(memory, memory.slots.supervisorSlot, await loadModules(handle), tellLog);
const snapshots = new Snapshots(parts);
const stats = new IoStatsView(memory.words, memory.plan.ioStats);
const sockets = new Set<Socket>();

function watch(): void {
  stats.want(Timing.WATCHED, sockets.size > 0);
}

/** At most one snapshot waits for a reader, however often it asks. */
function serve(socket: Socket): void {
  let owes = false;
  const send = (): void => {
    watch(); // another monitor of this instance may have lost its last reader
    owes = socket.writableLength > 0;
    if (!owes) socket.write(`${JSON.stringify(snapshots.take())}\n`);
  };
  sockets.add(socket);
  socket.on('data', (chunk) => {
    if (chunk.includes(NEWLINE)) send();
  });
  socket.on('drain', () => {
    if (owes) send();
  });
  socket.on('error', () => socket.destroy()); // a reader that has gone
  socket.on('close', () => {
    sockets.delete(socket);
    watch();
  });
  send();
}

const server = createServer(serve);
server.maxConnections = CONNECTIONS_MAX;
try {
  const inode = await listenPrivately(server, path);
  parentPort?.postMessage({ listening: inode });
} catch (error) {
  if (!(error instanceof MonitorError)) throw error;
  const { message, hint, errno } = error;
  parentPort?.postMessage({ refused: { message, hint, errno } });
}
parentPort?.once('message', () => {
  for (const socket of sockets) socket.destroy();
  server.close();
  parentPort?.close();
});
