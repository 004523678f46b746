/**
 * A key-value store on pages: a hash table whose buckets are chains of blocks. What `set` and `delete` have resolved for
 * survives a crash; what they have not is there whole or not at all, also where it concerns two pages. Calls that
 * run at the same time share their writes to the disk.
 *
 *   node examples/page-store.js DIRECTORY set KEY VALUE | get KEY | delete KEY | list
 */
import { pathToFileURL } from 'node:url';
import { createInstance, initPage, setPageLower } from 'pgaio';

const BUCKETS = 256;
const [HEADER, LOWER, NEXT, SPECIAL] = [24, 12, 8184, 8]; // the next block of a chain stands in the special space

export class PageStore {
  #instance;
  #relation;
  /** The last change, behind which the next one comes. */
  #last = Promise.resolve();

  /** Recovers what is there, and makes the directory if there is none. */
  static async open(directory, settings = {}) {
    const store = new PageStore();
    store.#instance = await createInstance({ ...settings, wal: { dataDirectory: directory } });
    const { backend } = store.#instance;
    store.#relation = backend.openRelation(directory, { database: 1, relation: 16384 });
    if (!store.#relation.exists(0)) store.#relation.create(0);
    const there = store.#relation.blockCount(0); // a bucket begins as a page of zeroes
    if (there < BUCKETS) await backend.extendRelation(store.#relation, BUCKETS - there);
    return store;
  }

  async get(key) {
    const chain = await this.#chain(key);
    const found = chain.flatMap(({ page }) => entries(page)).find((entry) => entry.key === key);
    for (const buffer of chain) buffer.release();
    return found?.value;
  }

  async set(key, value) {
    const [k, v] = [Buffer.from(key), Buffer.from(value)];
    if (HEADER + 4 + k.length + v.length > NEXT) throw new RangeError(`the value of "${key}" is too long`);
    const entry = Buffer.concat([Buffer.from(Uint16Array.of(k.length, v.length).buffer), k, v]);
    await this.#inTurn(() => this.#change(key, entry));
  }

  async delete(key) {
    await this.#inTurn(() => this.#change(key, null));
  }

  /** All entries, bucket by bucket; what is changed meanwhile may be among them or not. */
  async *list() {
    for await (const { page } of this.#instance.backend.readStream(this.#relation)) yield* entries(page);
  }

  close() {
    return this.#instance.close();
  }

  /** The pinned blocks of a key's bucket. */
  async #chain(key) {
    const chain = [];
    let hash = 0;
    for (const byte of Buffer.from(key)) hash = (Math.imul(hash, 31) + byte) >>> 0;
    for (let block = hash % BUCKETS; chain.length === 0 || block !== 0; block = next(chain.at(-1).page))
      chain.push(await this.#instance.backend.readBlock(this.#relation, block));
    return chain;
  }

  /** One change at a time, in the order of the calls; what makes them durable is for many together. */
  async #inTurn(change) {
    const turn = this.#last.then(change);
    this.#last = turn.catch(() => undefined);
    await this.#instance.backend.wal.flush(await turn);
  }

  /** Takes out the key's entry, if there is one, and puts in the new one, if there is one: in one record. */
  async #change(key, entry) {
    const { backend } = this.#instance;
    const chain = await this.#chain(key);
    try {
      const old = chain.find(({ page }) => entries(page).some((one) => one.key === key));
      let room = entry && chain.find(({ page }) => without(page, key).length + entry.length <= NEXT - HEADER);
      const full = entry && !room ? chain.at(-1) : undefined;
      if (full) {
        [room] = await backend.writes.extendRelation(this.#relation, 1);
        chain.push(room);
      }
      const touched = [...new Set([old, room, full])].filter(Boolean);
      if (touched.length === 0) return undefined;
      return await backend.wal.change(touched, (...pages) => {
        const copyOf = (buffer) => pages[touched.indexOf(buffer)];
        if (old) fill(copyOf(old), without(old.page, key));
        if (room) fill(copyOf(room), without(room.page, key), entry);
        if (full) view(copyOf(full)).setUint32(NEXT, room.block, true);
      });
    } finally {
      for (const buffer of chain) buffer.release();
    }
  }
}

const view = (page) => new DataView(page.buffer, page.byteOffset, page.byteLength);
const next = (page) => view(page).getUint32(NEXT, true);

/** Behind a page's header: length of key u16, of value u16, key, value. Copies, which outlive the page's pin. */
function entries(page) {
  const found = [];
  const end = view(page).getUint16(LOWER, true);
  for (let at = HEADER; at < end;) {
    const value = at + 4 + view(page).getUint16(at, true);
    const bytes = Buffer.from(page.slice(at, value + view(page).getUint16(at + 2, true)));
    found.push({ key: bytes.toString('utf8', 4, value - at), value: bytes.subarray(value - at), bytes });
    at += bytes.length;
  }
  return found;
}

/** The entries of a page but for one, as they stand there. */
const without = (page, key) =>
  Buffer.concat(entries(page).flatMap((entry) => (entry.key === key ? [] : [entry.bytes])));

function fill(page, ...parts) {
  const [bytes, chained] = [Buffer.concat(parts), next(page)];
  initPage(page, SPECIAL);
  view(page).setUint32(NEXT, chained, true);
  page.set(bytes, HEADER);
  setPageLower(page, HEADER + bytes.length);
}

async function main(directory, command, key, value) {
  if ({ set: value, get: key, delete: key, list: directory }[command] === undefined)
    throw new RangeError('Usage: page-store.js DIRECTORY set KEY VALUE | get KEY | delete KEY | list');
  const store = await PageStore.open(directory);
  try {
    if (command === 'set') await store.set(key, value);
    else if (command === 'delete') await store.delete(key);
    else if (command === 'get') console.log(String((await store.get(key)) ?? ''));
    else for await (const entry of store.list()) console.log(`${entry.key}=${entry.value}`);
  } finally {
    await store.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await main(...process.argv.slice(2)).catch((error) => {
    process.exitCode = 1;
    console.error([error.message, error.hint].filter(Boolean).join('\n'));
  });
