/** Segment files: sizes, numbers, names (`XLogFileName` and its kin). */
import type { Lsn } from './lsn.js';

/** In bytes. */
export const SEGMENT_SIZE_MIN: number = 2 ** 20;
export const SEGMENT_SIZE_MAX: number = 2 ** 30;

const WORD = 2 ** 32;
const NAME = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?$/;

/** `IsValidWalSegSize`: a power of two from 1 MB to 1 GB. */
export function isSegmentSize(bytes: number): boolean {
  return bytes >= SEGMENT_SIZE_MIN && bytes <= SEGMENT_SIZE_MAX && Number.isInteger(Math.log2(bytes));
}

/** The number of the segment that holds the byte at `lsn`. */
export function segmentOf(lsn: Lsn, segmentSize: number): number {
  return Math.floor(lsn / segmentSize);
}

/** `000000010000000000000003`: timeline, and the segment's number in two parts. */
export function segmentFileName(timeline: number, segment: number, segmentSize: number): string {
  const perFile = WORD / segmentSize;
  const parts = [timeline, Math.floor(segment / perFile), segment % perFile];
  return parts.map((part) => part.toString(16).toUpperCase().padStart(8, '0')).join('');
}

export interface SegmentName {
  readonly timeline: number;
  /** Its number depends on the segment size: {@link segmentNumber}. */
  readonly high: number;
  readonly low: number;
  /** The last segment of a receiver or of an old timeline, with the suffix `.partial`. */
  readonly partial: boolean;
}

/** Null: not the name of a segment file. */
export function parseSegmentFileName(name: string): SegmentName | null {
  const match = NAME.exec(name);
  if (match === null) return null;
  const [timeline = 0, high = 0, low = 0] = match.slice(1, 4).map((part) => Number.parseInt(part, 16));
  return { timeline, high, low, partial: match[4] !== undefined };
}

/** Null: with this segment size, no segment has that name, or its position is beyond what a number holds. */
export function segmentNumber({ high, low }: SegmentName, segmentSize: number): number | null {
  const perFile = WORD / segmentSize;
  const segment = high * perFile + low;
  if (low >= perFile || !Number.isSafeInteger((segment + 1) * segmentSize)) return null;
  return segment;
}
