/** A chart of lines over queue depths, as SVG: colours and dashes come from the page's style, numbers on hovering. */
import { escapeHtml } from '../html/page.js';

export interface Series<P> {
  readonly name: string;
  /** Which colour and dash: class `s0`, `s1`, … */
  readonly style: number;
  readonly points: readonly P[];
}

export interface ChartOptions<P> {
  readonly title: string;
  /** Places of the horizontal axis. */
  readonly depths: readonly number[];
  readonly series: readonly Series<P>[];
  readonly value: (point: P) => number;
  readonly format: (value: number) => string;
  readonly logarithmic: boolean;
}

const WIDTH = 460;
const HEIGHT = 260;
const LEFT = 64;
const RIGHT = 96;
const TOP = 10;
const BOTTOM = 34;
const NAME_HEIGHT = 14;

export function drawChart<P extends { readonly depth: number }>(options: ChartOptions<P>): string {
  const { depths, series, value, format, logarithmic } = options;
  const values = series.flatMap(({ points }) => points.map(value)).filter((one) => one > 0);
  const ticks = logarithmic ? powers(values) : steps(Math.max(1, ...values));
  const [low = 0, high = 1] = [ticks[0], ticks.at(-1)];
  const scale = logarithmic ? Math.log10 : (one: number): number => one;
  const y = (one: number): number =>
    TOP +
    (HEIGHT - TOP - BOTTOM) * (1 - (scale(Math.max(one, low)) - scale(low)) / (scale(high) - scale(low)));
  const x = (depth: number): number =>
    LEFT + ((WIDTH - LEFT - RIGHT) * depths.indexOf(depth)) / Math.max(1, depths.length - 1);
  const grid = ticks.map(
    (tick) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at(y(tick))}" y2="${at(y(tick))}"/>` +
      `<text class="axis" x="${LEFT - 6}" y="${at(y(tick) + 4)}" text-anchor="end">${format(tick)}</text>`,
  );
  const axis = depths.map(
    (depth) =>
      `<text class="axis" x="${at(x(depth))}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${depth}</text>`,
  );
  const names = spread(
    series.map(({ points }) => y(value(points.at(-1) as P))),
    NAME_HEIGHT,
  );
  const lines = series.map(({ name, style, points }, index) => {
    const path = points.map((point) => `${at(x(point.depth))},${at(y(value(point)))}`).join(' ');
    const marks = points.map(
      (point) =>
        `<circle class="mark" cx="${at(x(point.depth))}" cy="${at(y(value(point)))}" r="3.5">` +
        `<title>${escapeHtml(`${name}, ${point.depth} in flight: ${format(value(point))}`)}</title></circle>`,
    );
    const end = x((points.at(-1) as P).depth);
    const label = `<text class="name" x="${at(Math.max(end, WIDTH - RIGHT) + 8)}" y="${at((names[index] as number) + 4)}">${escapeHtml(name)}</text>`;
    return `<g class="s${style}"><polyline class="line" points="${path}"/>${marks.join('')}${label}</g>`;
  });
  return (
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(`${options.title}; the numbers are in the table below`)}">` +
    `${grid.join('')}${axis.join('')}<text class="axis" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 4}" text-anchor="middle">I/Os in flight</text>` +
    `${lines.join('')}</svg>`
  );
}

const at = (coordinate: number): string => coordinate.toFixed(1);

/** Round numbers from 0 to at least `highest`. */
function steps(highest: number): number[] {
  const rough = highest / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((one) => one >= rough) ?? rough;
  return Array.from({ length: Math.ceil(highest / step) + 1 }, (_, index) => index * step);
}

/** Powers of ten around the values. */
function powers(values: readonly number[]): number[] {
  const low = Math.floor(Math.log10(Math.min(1e9, ...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, ...values))));
  return Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
}

/** Where names go that want to be at these heights, so that none lies upon another. */
function spread(wanted: readonly number[], height: number): number[] {
  const order = wanted.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  const places: number[] = [];
  let least = TOP;
  for (const { place, index } of order) {
    const here = Math.max(place, least);
    places[index] = here;
    least = here + height;
  }
  const over = Math.max(0, least - height - (HEIGHT - BOTTOM));
  return places.map((place) => place - over);
}
