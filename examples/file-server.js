/**
 * Serves one large file over HTTP, with ranges, by several threads that read it through one cache.
 *
 *   node examples/file-server.js FILE [--port 8080] [--threads 2] [--cache 256MB] [--prewarm]
 *
 * From Node 22.12 on all threads listen on one port. Node 20 cannot do that: there each has its own, one above the other.
 */
import { createServer } from 'node:http';
import { pipeline } from 'node:stream';
import { pathToFileURL, URL } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { attachInstance, createInstance, PgaioError } from 'pgaio';

const [major, minor] = process.versions.node.split('.').map(Number);
const canSharePort = major > 22 || (major === 22 && minor >= 12);

/** The threads that serve the file, the addresses where they do, and the instance that they share. */
export async function serveFile(
  path,
  { port = 0, host = '127.0.0.1', threads = 2, cache = '256MB', prewarm = false } = {},
) {
  const instance = await createInstance({ ioMethod: 'auto', sharedBuffers: cache, maxBackends: threads + 2 });
  const workers = [];
  const close = async () => {
    for (const worker of workers) worker.postMessage('close');
    await Promise.all(workers.map((worker) => worker.ended));
    await instance.close();
  };
  try {
    if (prewarm) {
      const file = await instance.backend.openCachedFile(path);
      await file.prewarm();
      await file.close();
    }
    const addresses = new Set();
    for (let thread = 0, next = port; thread < threads; thread++) {
      const data = { handle: instance.handle, path, host, port: next };
      const worker = new Worker(new URL(import.meta.url), { workerData: data });
      worker.ended = new Promise((resolve) => worker.once('exit', resolve));
      workers.push(worker);
      const used = await new Promise((resolve, reject) => {
        worker.once('message', (message) => {
          worker.off('error', reject); // later ones end the program
          resolve(message);
        });
        worker.once('error', reject);
      });
      addresses.add(`http://${host}:${used}/`);
      next = canSharePort ? used : port === 0 ? 0 : used + 1;
    }
    return { addresses: [...addresses], instance, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What a Range header asks for: null for all, undefined for what is not in the file. More than one range is all, too. */
function rangeOf(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return null;
  const start = match[1] === '' ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === '' || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[1] !== '' && match[2] !== '' && Number(match[1]) > Number(match[2])) return null;
  return start <= end ? { start, end } : undefined;
}

/** A file that is replaced meanwhile is another one from the next request on: each has one state of it. */
async function answer(request, response, backend, path) {
  const { method, headers } = request;
  const file = await backend.openCachedFile(path);
  const etag = `"${file.identity}"`;
  response.once('close', () => file.close());
  response.setHeader('accept-ranges', 'bytes');
  response.setHeader('etag', etag);
  if (method !== 'GET' && method !== 'HEAD') return response.writeHead(405, { allow: 'GET, HEAD' }).end();
  const known = headers['if-none-match']?.split(',').map((tag) => tag.trim().replace('W/', '')) ?? [];
  if (known.includes(etag) || known.includes('*')) return response.writeHead(304).end();
  const isCurrent = headers['if-range'] === undefined || headers['if-range'] === etag;
  const range = isCurrent ? rangeOf(headers.range, file.size) : null;
  if (range === undefined) return response.writeHead(416, { 'content-range': `bytes */${file.size}` }).end();
  const { start, end } = range ?? { start: 0, end: file.size - 1 };
  response.writeHead(range === null ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-length': end - start + 1,
    ...(range !== null && { 'content-range': `bytes ${start}-${end}/${file.size}` }),
  });
  if (method === 'HEAD' || start > end) return response.end();
  // Whoever goes away ends the reading, too. After the head an error can only be told by breaking off.
  return pipeline(file.createReadStream({ start, end }), response, () => undefined);
}

async function serveInThread({ handle, path, host, port }) {
  const backend = await attachInstance(handle);
  await (await backend.openCachedFile(path)).close(); // it is there
  const server = createServer((request, response) => {
    answer(request, response, backend, path).catch((error) => {
      if (!response.headersSent) response.writeHead(error.code === 'ENOENT' ? 404 : 500);
      response.end();
    });
  });
  await new Promise((resolve, reject) =>
    server.once('error', reject).listen({ host, port, reusePort: canSharePort }, resolve),
  );
  parentPort.postMessage(server.address().port);
  parentPort.once('message', async () => {
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
    await backend.close();
    parentPort.close();
  });
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      port: { type: 'string', default: '8080' },
      threads: { type: 'string', default: '2' },
      cache: { type: 'string', default: '256MB' },
      prewarm: { type: 'boolean', default: false },
    },
  });
  const [path] = positionals;
  if (path === undefined) throw new TypeError('which file? file-server.js FILE [--port 8080] [--threads 2]');
  const { cache, prewarm } = values;
  const served = await serveFile(path, {
    port: Number(values.port),
    threads: Number(values.threads),
    cache,
    prewarm,
  });
  console.log(served.addresses.join('\n'));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, served.close);
}

if (!isMainThread) await serveInThread(workerData);
else if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await main().catch((error) => {
    const isOurs = error instanceof PgaioError || error instanceof TypeError || 'code' in error;
    console.error(isOurs ? error.message : error);
    process.exitCode = 1;
  });
