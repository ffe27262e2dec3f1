// Compares terminals: one that has had a program's output from its beginning, and one that has had a screen's dump and then the rest.
// Each line on stdin is a program: { name, columns, rows, output, cuts: [{ at, dump, rest }], frames: [{ at, columns, rows, frames, show }],
// resizes: [[columns, rows]] }, with bytes in base64. Each line on stdout is what one of its cuts differs in.
'use strict';

const { Terminal } = require('@xterm/headless');
const { Unicode11Addon } = require('@xterm/addon-unicode11');

const HISTORY = 1000;
// The most differences of one comparison that are told.
const TOLD = 5;
// In a background: whether the cell has more elsewhere. In a foreground: whether it is underlined, which is told there too.
const EXTENDED = 1 << 28;

function terminal(columns, rows) {
  const made = new Terminal({ cols: columns, rows, scrollback: HISTORY, allowProposedApi: true, logLevel: 'off' });
  made.loadAddon(new Unicode11Addon());
  made.unicode.activeVersion = '11';
  return made;
}

const write = (to, data) => new Promise((done) => to.write(data, done));
const bytes = (text) => Buffer.from(text, 'base64');

// Links to anything else don't reach viewers.
const LINKS = /^(https?:|mailto:)/;

function pen(core, cell) {
  const { _ext, underlineColor, urlId } = cell.bg & EXTENDED ? cell.extended : { _ext: 0, underlineColor: 0, urlId: 0 };
  // The accessor would tell of every link that it is underlined.
  const underline = (_ext >> 26) & 7;
  const link = urlId ? core._oscLinkService.getLinkData(urlId) : undefined;
  return [cell.fg & ~EXTENDED, cell.bg & ~EXTENDED, underline, underline ? underlineColor & 0x3ffffff : 0,
    link && LINKS.test(link.uri) ? link.uri : ''].join(',');
}

// A cell that was never written has only a background.
const cellOf = (core, cell) => (cell.content & 0x3fffff ? `${JSON.stringify(cell.getChars())} ${cell.getWidth()} ${pen(core, cell)}`
  : `${cell.getWidth() ? 'erased' : 'second half'} ${cell.bg & 0x3ffffff}`);

function state(of) {
  const core = of._core;
  const { buffers } = core._bufferService;
  const found = new Map();
  const set = (name, value) => found.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  const alternate = buffers.active === buffers.alt;
  const probe = new (buffers.active.getNullCell().constructor)();
  for (const [name, buffer] of [['primary', buffers.normal], ['alternate', buffers.alt]]) {
    if (name === 'alternate' && !alternate) continue;
    set(`${name} lines`, buffer.lines.length);
    for (let y = 0; y < buffer.lines.length; y++) {
      const line = buffer.lines.get(y);
      if (name === 'primary') set(`primary ${y} wrapped`, line.isWrapped);
      for (let x = 0; x < line.length; x++) set(`${name} ${y}:${x}`, cellOf(core, line.loadCell(x, probe)));
    }
    const saved = buffer.savedCurAttrData;
    set(`${name} saved`, [buffer.savedX || 0, Math.max(buffer.savedY - buffer.ybase, 0), saved.fg & ~EXTENDED, saved.bg & ~EXTENDED]);
    if (buffer === buffers.active) {
      set('cursor', [buffer.x, buffer.y]);
      set('region', [buffer.scrollTop, buffer.scrollBottom]);
      set('tabs', Object.keys(buffer.tabs).filter((x) => buffer.tabs[x] && x < of.cols));
    }
  }
  const { decPrivateModes } = core.coreService;
  for (const mode of Object.keys(decPrivateModes)) set(`mode ${mode}`, decPrivateModes[mode] ?? null);
  set('insert', core.coreService.modes.insertMode);
  set('new line', core.optionsService.rawOptions.convertEol);
  set('hidden', core.coreService.isCursorHidden);
  set('mouse', core.coreMouseService.activeProtocol);
  const { glevel, _charsets } = core._charsetService;
  set('charset', [glevel, [0, 1, 2, 3].map((slot) => Boolean(_charsets[slot] && Object.keys(_charsets[slot]).length))]);
  set('screen', alternate ? 'alternate' : 'primary');
  set('pen', pen(core, core._inputHandler._curAttrData));
  return found;
}

function differences(one, other) {
  const [got, wanted] = [state(one), state(other)];
  const names = new Set([...got.keys(), ...wanted.keys()]);
  return [...names].filter((name) => got.get(name) !== wanted.get(name)).map((name) => `${name}: ${got.get(name)} instead of ${wanted.get(name)}`);
}

// What a part of a terminal shows, and where its cursor is.
function shown(of, part) {
  const core = of._core;
  const buffer = core._bufferService.buffers.active;
  const probe = new (buffer.getNullCell().constructor)();
  const found = [];
  for (let y = 0; y < part.rows; y++) {
    for (let x = 0; x < part.columns; x++) {
      const cell = buffer.lines.get(buffer.ybase + part.top + y).loadCell(part.left + x, probe);
      // Half a character at an edge is a blank.
      const half = (x === 0 && cell.getWidth() === 0) || (x === part.columns - 1 && cell.getWidth() === 2);
      const blank = half || (!cell.getChars().trim() && !(cell.fg & 0xfc000000));
      found.push(blank ? `blank ${half ? 1 : cell.getWidth()} ${cell.bg & 0x3ffffff}` : `${cell.getChars()} ${cell.getWidth()} ${pen(core, cell)}`);
    }
  }
  const hidden = core.coreService.isCursorHidden;
  const at = hidden ? 'hidden' : [Math.min(buffer.x, core._bufferService.cols - 1) - part.left, buffer.y - part.top];
  return [...found, `cursor ${at}`, `keys ${core.coreService.decPrivateModes.applicationCursorKeys}`];
}

async function compare(program) {
  const output = bytes(program.output);
  const tell = (at, stage, found) => {
    if (found.length) console.log(JSON.stringify({ name: program.name, at, stage, count: found.length, differences: found.slice(0, TOLD) }));
  };
  for (const cut of program.cuts) {
    const [joined, there] = [terminal(program.columns, program.rows), terminal(program.columns, program.rows)];
    await write(joined, bytes(cut.dump));
    await write(there, output.subarray(0, cut.at));
    tell(cut.at, 'at the join', differences(joined, there));
    await write(joined, bytes(cut.rest));
    await write(there, output.subarray(cut.at));
    tell(cut.at, 'after the rest', differences(joined, there));
    for (const [columns, rows] of program.resizes) {
      joined.resize(columns, rows);
      there.resize(columns, rows);
      tell(cut.at, `at ${columns}×${rows}`, differences(joined, there));
    }
  }
  for (const view of program.frames) {
    const [viewer, there] = [terminal(view.columns, view.rows), terminal(program.columns, program.rows)];
    let at = 0;
    for (const frame of view.frames) {
      await write(there, output.subarray(at, frame.at));
      at = frame.at;
      await write(viewer, bytes(frame.bytes));
      const size = { columns: frame.columns, rows: frame.rows };
      const [got, wanted] = [shown(viewer, { left: 0, top: 0, ...size }), shown(there, { left: frame.left, top: frame.top, ...size })];
      const name = (index) => (index < size.columns * size.rows ? `${Math.floor(index / size.columns)}:${index % size.columns}` : 'state');
      const found = got.map((cell, index) => (cell === wanted[index] ? '' : `${name(index)}: ${cell} instead of ${wanted[index]}`)).filter(Boolean);
      tell(at, `in a window of ${view.columns}×${view.rows}`, found);
    }
  }
}

(async () => {
  let input = '';
  for await (const chunk of process.stdin) input += chunk;
  for (const line of input.split('\n').filter(Boolean)) await compare(JSON.parse(line));
})();
