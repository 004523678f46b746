/**
 * What the page does: a list of which only the rows in sight exist, each with a strip of its blocks. A strip has as many
 * pieces as it has pixels; a piece in which one block is damaged is as red, and as high, as one in which all are.
 *
 * It is plain text to us: it runs in the reader's browser, and in the tests in a real one.
 */
export const MAP_SCRIPT: string = String.raw`
'use strict';
const { groups, damage, complete } = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const files = [];
let allBlocks = 0;
for (const { directory, files: names } of groups)
  for (let at = 0; at < names.length; at += 2) {
    const path = directory === '.' ? names[at] : directory + '/' + names[at];
    files.push({ path, blocks: names[at + 1], before: allBlocks, bad: 0, damage: null });
    allBlocks += names[at + 1];
  }
const countOf = (ranges) => { let sum = 0; for (let at = 1; at < ranges.length; at += 2) sum += ranges[at]; return sum; };
for (const one of damage) {
  const file = files[one.file];
  file.damage = one;
  file.bad = countOf(one.checksum) + countOf(one.structure);
}
const isDamaged = (file) => file.damage !== null;
const colors = () => {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  return { good: get('--good'), bad: get('--bad'), warn: get('--warn') };
};

// --- strips --------------------------------------------------------------------------------------

function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  return { context, width, height };
}

const MARK = 3; // pixels that one damaged block has at least

function drawDamage(context, one, scale, offset, width, height, color) {
  const mark = (ranges, isFilled) => {
    let last = -1;
    for (let at = 0; at < ranges.length; at += 2) {
      const from = Math.min(offset + ranges[at] * scale, width - MARK);
      const size = Math.max(MARK, ranges[at + 1] * scale);
      if (from + size <= last) continue; // under the one before
      last = from + size;
      context.fillStyle = context.strokeStyle = color.bad;
      if (isFilled) context.fillRect(from, 0, size, height);
      else { context.lineWidth = 2; context.strokeRect(from + 1, 1, Math.max(1, size - 2), height - 2); }
    }
  };
  mark(one.structure, false);
  mark(one.checksum, true);
}

function hatch(context, from, width, height, color) {
  context.save();
  context.beginPath();
  context.rect(from, 0, width, height);
  context.clip();
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.beginPath();
  for (let x = from - height; x < from + width; x += 6) { context.moveTo(x, height); context.lineTo(x + height, 0); }
  context.stroke();
  context.restore();
}

function drawStrip(canvas, file, color) {
  const { context, width, height } = prepare(canvas);
  context.fillStyle = color.good;
  context.fillRect(0, height * 0.3, width, height * 0.4);
  if (file.damage === null) return;
  if (file.damage.unreadable) hatch(context, 0, width, height, color.warn);
  if (file.blocks > 0) drawDamage(context, file.damage, width / file.blocks, 0, width, height, color);
}

function drawWhole() {
  const canvas = byId('whole');
  const color = colors();
  const { context, width, height } = prepare(canvas);
  context.fillStyle = color.good;
  context.fillRect(0, height * 0.3, width, height * 0.4);
  const scale = width / Math.max(1, allBlocks);
  for (const { file } of damage) {
    const { before, blocks, damage: one } = files[file];
    if (one.unreadable) hatch(context, before * scale, Math.max(MARK, blocks * scale), height, color.warn);
    drawDamage(context, one, scale, before * scale, width, height, color);
  }
}

byId('whole').addEventListener('click', ({ offsetX }) => {
  const block = (offsetX / byId('whole').clientWidth) * allBlocks;
  const near = (MARK * allBlocks) / byId('whole').clientWidth;
  let found = damage.map(({ file }) => files[file]).find((file) => block >= file.before - near && block < file.before + file.blocks + near);
  found ??= files.findLast((file) => file.before <= block);
  if (found === undefined) return;
  if (!shown.includes(found)) { byId('filter').value = ''; byId('only').checked = false; choose(); }
  select(shown.indexOf(found));
});

// --- the list ------------------------------------------------------------------------------------

let shown = [];
let selected = -1;
const list = byId('list');
const rows = byId('rows');
const rowHeight = () => (window.matchMedia('(max-width: 40rem)').matches ? 50 : 32);
const order = {
  damage: (a, b) => isDamaged(b) - isDamaged(a) || b.bad - a.bad || a.before - b.before,
  path: (a, b) => (a.path < b.path ? -1 : 1),
  size: (a, b) => b.blocks - a.blocks,
};

function choose() {
  const text = byId('filter').value.trim().toLowerCase();
  const only = byId('only').checked;
  shown = files.filter((file) => (!only || isDamaged(file)) && (text === '' || file.path.toLowerCase().includes(text)));
  shown.sort(order[byId('sort').value]);
  selected = -1;
  byId('detail').hidden = true;
  byId('shown').textContent = shown.length.toLocaleString('en') + ' of ' + files.length.toLocaleString('en') + ' files';
  list.setAttribute('aria-rowcount', String(shown.length));
  list.scrollTop = 0;
  draw();
}

function cell(row, className, text) {
  const element = document.createElement('div');
  element.className = className;
  element.setAttribute('role', 'gridcell');
  element.textContent = text;
  element.title = text;
  row.append(element);
}

function rowOf(file, index, color) {
  const row = document.createElement('div');
  row.className = 'row';
  row.id = 'row' + index;
  row.setAttribute('role', 'row');
  row.setAttribute('aria-rowindex', String(index + 1));
  row.setAttribute('aria-selected', String(index === selected));
  cell(row, 'path', file.path);
  cell(row, 'number' + (isDamaged(file) ? ' bad' : ''), file.bad > 0 ? '✖ ' + file.bad + ' bad' : isDamaged(file) ? '⚠ not read' : complete ? '✔' : 'nothing yet');
  cell(row, 'number blocks faint', file.blocks.toLocaleString('en') + (file.blocks === 1 ? ' block' : ' blocks'));
  const canvas = document.createElement('canvas');
  canvas.setAttribute('aria-hidden', 'true');
  row.append(canvas);
  row.addEventListener('click', () => select(index));
  row.addEventListener('pointermove', ({ clientX }) => {
    const { left, width } = canvas.getBoundingClientRect();
    if (clientX < left || !isDamaged(file)) return;
    row.title = near(file, ((clientX - left) / width) * file.blocks, (MARK * file.blocks) / width);
  });
  return { row, paint: () => drawStrip(canvas, file, color) };
}

function draw() {
  const height = rowHeight();
  byId('space').style.height = shown.length * height + 'px';
  const first = Math.max(0, Math.floor(list.scrollTop / height) - 5);
  const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / height) + 10);
  const color = colors();
  const made = [];
  for (let index = first; index < last; index++) made.push(rowOf(shown[index], index, color));
  rows.style.top = first * height + 'px';
  rows.replaceChildren(...made.map(({ row }) => row));
  for (const { paint } of made) paint();
}

// --- what is wrong with one file -----------------------------------------------------------------

const RANGES_MAX = 200;
const names = { checksum: 'bad checksum', structure: 'damaged header under a right checksum' };

function rangesText(ranges) {
  const parts = [];
  for (let at = 0; at < ranges.length && parts.length < RANGES_MAX; at += 2)
    parts.push(ranges[at + 1] === 1 ? String(ranges[at]) : ranges[at] + '–' + (ranges[at] + ranges[at + 1] - 1));
  const more = ranges.length / 2 - parts.length;
  return parts.join(', ') + (more > 0 ? ' and ' + more + ' more ranges' : '');
}

function near(file, block, reach) {
  const close = (ranges) => {
    const found = [];
    for (let at = 0; at < ranges.length; at += 2)
      if (ranges[at] <= block + reach && ranges[at] + ranges[at + 1] > block - reach) found.push(ranges[at], ranges[at + 1]);
    return found;
  };
  const parts = ['checksum', 'structure'].flatMap((kind) => {
    const found = close(file.damage[kind]);
    return found.length === 0 ? [] : [names[kind] + ': ' + rangesText(found)];
  });
  return parts.length === 0 ? 'about block ' + Math.floor(block) : 'block ' + parts.join('; ');
}

function select(index) {
  if (index < 0 || index >= shown.length) return;
  selected = index;
  const height = rowHeight();
  if (index * height < list.scrollTop) list.scrollTop = index * height;
  if ((index + 1) * height > list.scrollTop + list.clientHeight) list.scrollTop = (index + 1) * height - list.clientHeight;
  draw();
  list.setAttribute('aria-activedescendant', 'row' + index);
  const file = shown[index];
  const lines = [file.path + ': ' + file.blocks.toLocaleString('en') + (file.blocks === 1 ? ' block' : ' blocks')];
  if (!isDamaged(file)) lines.push(complete ? 'Nothing is wrong with it.' : 'Nothing was found so far. The run ended early: it may not have been read.');
  else {
    if (file.damage.unreadable) lines.push('Something of it could not be read: see below.');
    for (const kind of ['checksum', 'structure'])
      if (file.damage[kind].length > 0) lines.push(names[kind] + ', block ' + rangesText(file.damage[kind]));
  }
  const detail = byId('detail');
  detail.replaceChildren(...lines.map((line) => Object.assign(document.createElement('p'), { textContent: line })));
  detail.hidden = false;
}

const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
list.addEventListener('keydown', (event) => {
  const step = steps[event.key];
  if (step === undefined || shown.length === 0) return;
  event.preventDefault();
  select(Math.max(0, Math.min(shown.length - 1, selected + step)));
});
let isDue = false;
const drawSoon = () => {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; draw(); });
};
list.addEventListener('scroll', drawSoon);
window.addEventListener('resize', () => { drawWhole(); drawSoon(); });
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { drawWhole(); drawSoon(); });
for (const id of ['filter', 'only', 'sort']) byId(id).addEventListener('input', choose);
byId('only').checked = damage.length > 0 && files.length > 1;
byId('whole').setAttribute('aria-label', 'All blocks of all files, one behind the other; ' + (damage.length === 1 ? '1 file is' : damage.length + ' files are')
  + ' damaged or not readable. The list below has the same for the keyboard.');
choose();
drawWhole();
`;
