/**
 * Pages that tell whether changes were lost or torn apart: each change of a lane gets a number, one more than the
 * lane's last, and is on two pages, each of which counts the lane's changes and has the number of its last.
 */
import { initPage, setPageLower } from '../src/page/init-page.js';

export const LANES = 4;
export const CHANGED_PAGES = 40;
export const RELATION = { database: 1, relation: 16384 } as const;

const START = 32;
const LANE_BYTES = 8;
const FILLER = 600;

export function makeCounters(page: Uint8Array): void {
  initPage(page);
  setPageLower(page, START + LANES * LANE_BYTES + FILLER);
}

const nextNumbers = new Map<number, number>();

/** The number of the change, which this process counts on from `seen`. */
export function countUp(one: Uint8Array, other: Uint8Array, lane: number): number {
  const number = (nextNumbers.get(lane) ?? 0) + 1;
  nextNumbers.set(lane, number);
  for (const page of [one, other]) {
    const view = new DataView(page.buffer, page.byteOffset);
    const at = START + lane * LANE_BYTES;
    view.setUint32(at, view.getUint32(at, true) + 1, true);
    view.setUint32(at + 4, number, true);
    page.fill(number & 0xff, START + LANES * LANE_BYTES, START + LANES * LANE_BYTES + (number % FILLER));
  }
  return number;
}

/** The lane's numbers go on behind `number`. */
export function countFrom(lane: number, number: number): void {
  nextNumbers.set(lane, number);
}

export interface LaneCount {
  /** Of the lane's last change on any page. */
  last: number;
  /** Changes, each counted on both its pages. */
  count: number;
}

export function addCounts(page: Uint8Array, counts: LaneCount[]): void {
  const view = new DataView(page.buffer, page.byteOffset);
  for (let lane = 0; lane < LANES; lane++) {
    const at = START + lane * LANE_BYTES;
    const so = (counts[lane] ??= { last: 0, count: 0 });
    so.count += view.getUint32(at, true);
    so.last = Math.max(so.last, view.getUint32(at + 4, true));
  }
}
