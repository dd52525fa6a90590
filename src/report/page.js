// Draws the charts of the report from the JSON in the page. No library, no network.
(function () {
'use strict';
const F = JSON.parse(document.getElementById('facts').textContent);
const PARTS = ['useful', 'idle', 'fill', 'weights', 'post', 'memory', 'control'];
const MEANING = {
  useful: 'useful: as many cycles as the products take if every brick works',
  idle: 'idle: the array is fed, but rows, lanes or columns have no part of the layer',
  fill: 'fill: the array fills and drains',
  weights: 'weights: they shift in, the array has nothing else to do',
  post: 'post: results are finished, the array has nothing to do',
  memory: 'memory: a transfer that nothing hides',
  control: 'control: instruction fetch, tokens, start and end',
};
const QUEUE_COLOURS = ['memory', 'weights', 'useful', 'post'];
const NS = 'http://www.w3.org/2000/svg';
const $ = (id) => document.getElementById(id);
const colour = (name) => 'var(--' + name + ')';
const group = (n) => Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, '\u202f');
const percent = (x) => (100 * x).toFixed(1) + ' %';
const short = (text, n) => (text.length <= n ? text : text.slice(0, Math.max(1, n - 1)) + '\u2026');
const label = (i) => (i + 1) + '. ' + F.layers[i].name;

function node(parent, tag, attributes, text) {
  const e = document.createElement(tag);
  for (const k in attributes || {}) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  parent.appendChild(e);
  return e;
}
function draw(parent, tag, attributes, text) {
  const e = document.createElementNS(NS, tag);
  for (const k in attributes || {}) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  parent.appendChild(e);
  return e;
}
function picture(host, width, height, title) {
  host.replaceChildren();
  const svg = draw(host, 'svg', { width: width, height: height, viewBox: '0 0 ' + width + ' ' + height, role: 'img', 'aria-label': title });
  return svg;
}
const room = (host) => Math.max(280, Math.floor(host.clientWidth || 900));

// ---- what hovering shows
const tip = $('tip');
function place(x, y) {
  tip.hidden = false;
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = Math.max(4, Math.min(window.innerWidth - w - 4, x + 14)) + 'px';
  tip.style.top = (y + h + 24 > window.innerHeight ? Math.max(4, y - h - 12) : y + 16) + 'px';
}
function hover(e, text) {
  e.classList.add('hot');
  const show = (x, y) => { tip.textContent = typeof text === 'function' ? text() : text; place(x, y); };
  e.addEventListener('pointerenter', (v) => show(v.clientX, v.clientY));
  e.addEventListener('pointermove', (v) => show(v.clientX, v.clientY));
  e.addEventListener('pointerleave', () => { tip.hidden = true; });
}

// ---- scales
function nice(span, count) {
  const raw = span / Math.max(1, count), ten = Math.pow(10, Math.floor(Math.log10(raw)));
  return [1, 2, 5, 10].map((m) => m * ten).find((s) => s >= raw) || ten;
}
function amount(n) {
  if (n >= 1e9) return +(n / 1e9).toPrecision(3) + ' G';
  if (n >= 1e6) return +(n / 1e6).toPrecision(3) + ' M';
  if (n >= 1e4) return +(n / 1e3).toPrecision(3) + ' k';
  return String(+n.toPrecision(3));
}
function cycleAxis(svg, a, b, x, top, bottom, unit) {
  const step = Math.max(1, nice(b - a, (x(b) - x(a)) / 90));
  for (let t = Math.ceil(a / step) * step; t <= b; t += step) {
    draw(svg, 'line', { x1: x(t), x2: x(t), y1: top, y2: bottom, class: 'grid' });
    const last = x(t) > x(b) - 20;
    draw(svg, 'text', { x: x(t), y: bottom + 15, class: 'quiet', 'text-anchor': last ? 'end' : t === a ? 'start' : 'middle' }, step >= 1000 ? amount(t) : group(t));
  }
  draw(svg, 'text', { x: x(a), y: bottom + 31, class: 'quiet' }, unit);
}

// ---- the selected layer
let selected = 0;
function select(i) {
  selected = i;
  const l = F.layers[i], card = $('layer-card');
  if (!l) return;
  card.replaceChildren();
  card.dataset.layer = i + 1;
  node(card, 'h3', {}, 'Layer ' + label(i));
  node(card, 'p', { class: 'sentence' }, l.limit.sentence);
  const list = node(card, 'dl');
  const say = (name, value) => { const d = node(list, 'div'); node(d, 'dt', {}, name); node(d, 'dd', {}, value); };
  say('operator', l.op);
  say('in', l.shape_in.join(' x '));
  say('out', l.shape.join(' x '));
  say('bits (activation x weight)', l.act_bits + ' x ' + l.wgt_bits);
  say('MACs', group(l.macs));
  say('BitOPs', group(l.bit_ops));
  say('cycles predicted', l.cycles_predicted === null ? '-' : group(l.cycles_predicted));
  say('cycles measured', l.cycles_measured === null ? '-' : group(l.cycles_measured));
  say('array used', l.utilization === null ? '-' : percent(l.utilization));
  if (l.time) for (const p of PARTS) if (l.time[p]) say(p, group(l.time[p]) + ' cycles');
  say('loaded: activations', group(l.traffic.activations) + ' B');
  say('loaded: weights', group(l.traffic.weights) + ' B');
  say('loaded: parameters', group(l.traffic.parameters) + ' B');
  say('stored', group(l.traffic.stored) + ' B');
  say('in the banks', group(l.bank_bytes) + ' B');
  document.querySelectorAll('#layers tbody tr').forEach((r, k) => r.classList.toggle('on', k === i));
}

// ---- where the cycles went
let shares = false;
function bars() {
  const host = $('bars'), W = room(host), narrow = W < 620;
  const left = narrow ? 0 : 190, right = narrow ? 4 : 96, step = narrow ? 40 : 26, head = narrow ? 17 : 0;
  const H = F.layers.length * step + 40;
  const svg = picture(host, W, H, 'cycles of each layer by what they went to');
  const most = shares ? 1 : Math.max(1, ...F.layers.map((l) => l.end - l.first));
  const x = (v) => left + (W - left - right) * v / most;
  F.layers.forEach((l, i) => {
    const y = i * step, cycles = l.end - l.first, all = Math.max(1, cycles);
    const row = draw(svg, 'g', { 'data-layer': i + 1 });
    draw(row, 'rect', { x: 0, y: y, width: W, height: step, fill: 'transparent' });
    const name = draw(row, 'text', { x: narrow ? 0 : left - 8, y: y + (narrow ? 13 : 16), 'text-anchor': narrow ? 'start' : 'end' }, short(label(i), narrow ? Math.floor(W / 8) - 12 : 27));
    hover(name, label(i) + '\n' + l.limit.sentence);
    let at = 0;
    for (const p of PARTS) {
      const n = l.time ? l.time[p] : 0;
      if (!n) continue;
      const a = x(shares ? at / all : at), b = x(shares ? (at + n) / all : at + n);
      const r = draw(row, 'rect', { x: a, y: y + head + 4, width: Math.max(0.5, b - a - (b - a > 3 ? 1 : 0)), height: 16, fill: colour(p), 'data-part': p });
      hover(r, label(i) + '\n' + p + ': ' + group(n) + ' cycles, ' + percent(n / all) + ' of the layer\n' + MEANING[p]);
      at += n;
    }
    const end = draw(row, 'text', { x: narrow ? W - 2 : x(shares ? 1 : cycles) + 6, y: y + (narrow ? 13 : 16), class: 'quiet', 'text-anchor': narrow ? 'end' : 'start' }, group(cycles));
    end.setAttribute('data-cycles', cycles);
    row.addEventListener('click', () => select(i));
  });
  const base = F.layers.length * step + 4;
  if (shares) {
    [0, 0.25, 0.5, 0.75, 1].forEach((t) => draw(svg, 'text', { x: x(t), y: base + 12, class: 'quiet', 'text-anchor': t === 0 ? 'start' : t === 1 ? 'end' : 'middle' }, 100 * t + ' %'));
  } else {
    const unit = nice(most, (W - left - right) / 90);
    for (let t = 0; t <= most; t += unit) draw(svg, 'text', { x: x(t), y: base + 12, class: 'quiet', 'text-anchor': t === 0 ? 'start' : 'middle' }, amount(t));
    draw(svg, 'text', { x: left, y: base + 28, class: 'quiet' }, 'cycles');
  }
}
function legend(id, entries) {
  const host = $(id);
  host.replaceChildren();
  for (const [name, text, meaning] of entries) {
    const s = node(host, 'span', meaning ? { title: meaning } : {});
    node(s, 'i', { style: 'background:' + colour(name) });
    s.appendChild(document.createTextNode(text));
  }
}

// ---- the timeline
const T = F.timeline;
const lanes = T.queues.map((q, k) => {
  const n = q.spans.length / 5, lane = { start: new Float64Array(n), end: new Float64Array(n), kind: [], layer: [], pc: [], title: q.title, colour: QUEUE_COLOURS[k] };
  let start = 0, pc = 0, free = 0;
  for (let i = 0; i < n; i++) {
    start += q.spans[5 * i];
    pc += q.spans[5 * i + 4];
    const end = start + q.spans[5 * i + 1];
    // loads overlap: each is drawn from the end of the one before
    lane.start[i] = Math.min(Math.max(start, free), end);
    lane.end[i] = end;
    free = Math.max(free, end);
    lane.kind.push(T.kinds[q.spans[5 * i + 2]]);
    lane.layer.push(q.spans[5 * i + 3]);
    lane.pc.push(pc);
  }
  return lane;
});
let view = [0, Math.max(1, T.cycles)];
function look(a, b) {
  const least = 20, span = Math.min(T.cycles, Math.max(least, b - a));
  const mid = (a + b) / 2;
  a = Math.max(0, Math.min(T.cycles - span, mid - span / 2));
  view = [a, a + span];
  timeline();
}
const zoom = (factor, at) => look(at - (at - view[0]) * factor, at + (view[1] - at) * factor);
function firstAfter(ends, t) {
  let lo = 0, hi = ends.length;
  while (lo < hi) { const m = (lo + hi) >> 1; if (ends[m] <= t) lo = m + 1; else hi = m; }
  return lo;
}
let scale = { left: 0, right: 1 };
function timeline() {
  const host = $('timeline'), W = room(host), left = W < 620 ? 66 : 104, right = 8, top = 24, step = 34, H = top + 4 * step + 44;
  const svg = picture(host, W, H, 'when every instruction was at work');
  const [a, b] = view, x = (t) => left + (W - left - right) * (t - a) / (b - a);
  scale = { left: left, right: W - right };
  host.dataset.from = Math.round(a);
  host.dataset.to = Math.round(b);
  cycleAxis(svg, a, b, x, top, top + 4 * step, 'cycles');
  T.layers.forEach(([f, e], i) => {
    if (e <= a || f >= b || e <= f) return;
    const p = Math.max(left, x(f)), q = Math.min(W - right, x(e));
    const r = draw(svg, 'rect', { x: p, y: 2, width: Math.max(0.5, q - p - 1), height: 18, fill: 'var(--raised)', stroke: 'var(--line)' });
    if (q - p > 24) draw(svg, 'text', { x: p + 4, y: 15, 'pointer-events': 'none' }, short(q - p > 90 ? label(i) : String(i + 1), Math.floor((q - p - 6) / 6.6)));
    hover(r, label(i) + '\ncycles ' + group(f) + ' to ' + group(e) + '\n' + F.layers[i].limit.sentence);
    r.addEventListener('click', () => { if (!moved) { select(i); look(f, e); } });
  });
  lanes.forEach((lane, k) => {
    const y = top + k * step + 4;
    draw(svg, 'text', { x: 0, y: y + 17 }, W < 620 ? short(lane.title, 9) : lane.title);
    draw(svg, 'line', { x1: left, x2: W - right, y1: y + 26.5, y2: y + 26.5, class: 'grid' });
    let i = firstAfter(lane.end, a), count = 0;
    while (i < lane.end.length && lane.start[i] < b) {
      // what is less than a pixel away belongs to the same mark
      let j = i, p = x(lane.start[i]), q = x(lane.end[i]);
      while (j + 1 < lane.end.length && x(lane.start[j + 1]) - q < 0.7 && (q - p < 2 || x(lane.end[j + 1]) - x(lane.start[j + 1]) < 1)) { j++; q = x(lane.end[j]); }
      const first = i, last = j;
      const from = Math.max(left, p), to = Math.min(W - right, q);
      if (to > left) {
        const r = draw(svg, 'rect', { x: from, y: y, width: Math.max(0.8, to - from - (to - from > 4 ? 0.7 : 0)), height: 24, fill: colour(lane.colour), 'data-queue': k });
        hover(r, () => first === last
          ? lane.kind[first] + ', instruction ' + group(lane.pc[first]) + '\ncycles ' + group(lane.start[first]) + ' to ' + group(lane.end[first]) + ' (' + group(lane.end[first] - lane.start[first]) + ')\n' + label(lane.layer[first])
          : group(last - first + 1) + ' instructions, cycles ' + group(lane.start[first]) + ' to ' + group(lane.end[last]) + '\n' + label(lane.layer[first]) + (lane.layer[last] !== lane.layer[first] ? ' to ' + label(lane.layer[last]) : '') + '\nzoom in to see each');
        if (first === last && to - from > 46) draw(svg, 'text', { x: from + 4, y: y + 16, 'pointer-events': 'none', style: 'fill:var(--surface)' }, short(lane.kind[first], Math.floor((to - from - 6) / 7)));
        count++;
      }
      i = j + 1;
    }
    host.dataset['marks' + k] = count;
  });
}
const points = new Map();
let moved = false;
function gestures() {
  const host = $('timeline');
  const cycle = (clientX) => {
    const box = host.getBoundingClientRect(), s = (clientX - box.left - scale.left) / (scale.right - scale.left);
    return view[0] + (view[1] - view[0]) * s;
  };
  host.addEventListener('wheel', (v) => {
    if (!(v.ctrlKey || v.metaKey || v.shiftKey || document.activeElement === host)) return;
    v.preventDefault();
    zoom(Math.pow(1.0015, v.deltaY || v.deltaX), cycle(v.clientX));
  }, { passive: false });
  host.addEventListener('pointerdown', (v) => { points.set(v.pointerId, v.clientX); moved = false; });
  window.addEventListener('pointermove', (v) => {
    if (!points.has(v.pointerId)) return;
    const before = [...points.values()], was = points.get(v.pointerId);
    const span = view[1] - view[0], pixels = scale.right - scale.left;
    if (points.size === 1) {
      if (Math.abs(v.clientX - was) < 3 && !moved) return;
      moved = true;
      points.set(v.pointerId, v.clientX);
      look(view[0] - (v.clientX - was) * span / pixels, view[1] - (v.clientX - was) * span / pixels);
    } else {
      points.set(v.pointerId, v.clientX);
      const after = [...points.values()];
      const d0 = Math.abs(before[0] - before[1]), d1 = Math.abs(after[0] - after[1]);
      if (d0 > 5 && d1 > 5) zoom(d0 / d1, cycle((after[0] + after[1]) / 2));
    }
  });
  for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, (v) => points.delete(v.pointerId));
  const by = (f) => look(view[0] + f * (view[1] - view[0]), view[1] + f * (view[1] - view[0]));
  const middle = () => (view[0] + view[1]) / 2;
  const actions = { 'tl-in': () => zoom(0.5, middle()), 'tl-out': () => zoom(2, middle()), 'tl-left': () => by(-0.4), 'tl-right': () => by(0.4), 'tl-all': () => look(0, T.cycles) };
  for (const id in actions) $(id).addEventListener('click', actions[id]);
  host.addEventListener('keydown', (v) => {
    const f = { '+': actions['tl-in'], '-': actions['tl-out'], ArrowLeft: actions['tl-left'], ArrowRight: actions['tl-right'], Home: actions['tl-all'] }[v.key];
    if (f) { v.preventDefault(); f(); }
  });
}

// ---- the roofline
function roofline() {
  const R = F.roofline, host = $('roofline'), W = room(host), narrow = W < 620;
  const left = 52, right = narrow ? 62 : 150, top = 12, bottom = 40, H = Math.max(320, Math.min(480, W * 0.55));
  const svg = picture(host, W, H, 'roofline of the configuration with the layers');
  if (!R.points.length) { draw(svg, 'text', { x: left, y: 40 }, 'No layer multiplies.'); return; }
  const xs = R.points.filter((p) => p.macs_per_byte).map((p) => p.macs_per_byte), ridge = (c) => c.gmac_s / R.bandwidth_gb_s;
  const shown = R.ceilings;
  const x0 = Math.min(...xs, ...shown.map(ridge)) / 2.5, x1 = Math.max(...xs, ...shown.map(ridge)) * 4;
  const y0 = Math.min(...R.points.map((p) => p.gmac_s), ...shown.map((c) => c.gmac_s)) / 1.6, y1 = Math.max(...shown.map((c) => c.gmac_s)) * 1.6;
  const x = (v) => left + (W - left - right) * (Math.log10(v) - Math.log10(x0)) / (Math.log10(x1) - Math.log10(x0));
  const y = (v) => H - bottom - (H - top - bottom) * (Math.log10(v) - Math.log10(y0)) / (Math.log10(y1) - Math.log10(y0));
  const power = (e) => (e >= 0 && e < 4 ? String(Math.pow(10, e)) : e < 0 && e > -4 ? Math.pow(10, e).toFixed(-e) : '1e' + e);
  for (let e = Math.ceil(Math.log10(x0)); e <= Math.log10(x1); e++) {
    const p = x(Math.pow(10, e));
    draw(svg, 'line', { x1: p, x2: p, y1: top, y2: H - bottom, class: 'grid' });
    draw(svg, 'text', { x: p, y: H - bottom + 16, class: 'quiet', 'text-anchor': 'middle' }, power(e));
  }
  for (let e = Math.ceil(Math.log10(y0)); e <= Math.log10(y1); e++) {
    const p = y(Math.pow(10, e));
    draw(svg, 'line', { x1: left, x2: W - right, y1: p, y2: p, class: 'grid' });
    draw(svg, 'text', { x: left - 6, y: p + 4, class: 'quiet', 'text-anchor': 'end' }, power(e));
  }
  draw(svg, 'text', { x: left, y: H - 6, class: 'quiet' }, 'MACs per byte of memory traffic');
  draw(svg, 'text', { x: left + 4, y: top + 10, class: 'quiet' }, 'GMAC/s at ' + R.clock_mhz + ' MHz');
  const clip = draw(draw(svg, 'defs'), 'clipPath', { id: 'roof-clip' });
  draw(clip, 'rect', { x: left, y: top, width: W - left - right, height: H - top - bottom });
  const roof = draw(svg, 'g', { 'clip-path': 'url(#roof-clip)' });
  const highest = Math.max(...shown.map((c) => c.gmac_s));
  const slope = (factor, dash) => draw(roof, 'line', { x1: x(x0), y1: y(x0 * R.bandwidth_gb_s * factor), x2: x(highest / R.bandwidth_gb_s / factor), y2: y(highest), stroke: colour('memory'), 'stroke-width': 2, 'stroke-dasharray': dash });
  hover(slope(1, 'none'), 'memory: ' + R.bandwidth_gb_s.toFixed(2) + ' GB/s through ' + F.config.read_ports + ' read ports');
  hover(slope(2, '4 4'), 'twice the memory bandwidth: ' + (2 * R.bandwidth_gb_s).toFixed(2) + ' GB/s');
  let lastY = -100;
  for (const c of [...shown].sort((p, q) => q.gmac_s - p.gmac_s || q.used - p.used)) {
    const text = c.act_bits + ' x ' + c.wgt_bits + ' bits';
    const l = draw(roof, 'line', { x1: x(ridge(c)), x2: W - right, y1: y(c.gmac_s), y2: y(c.gmac_s), stroke: c.used ? colour('useful') : 'var(--quiet)', 'stroke-width': c.used ? 2.5 : 1, 'data-ceiling': c.act_bits + 'x' + c.wgt_bits });
    hover(l, text + ': ' + c.gmac_s.toFixed(1) + ' GMAC/s at most' + (c.used ? '' : ' (no layer has these widths)'));
    if (y(c.gmac_s) - lastY > 12 || c.used) {
      const at = Math.max(y(c.gmac_s) + 4, lastY + 13);
      draw(svg, 'text', { x: W - right + 6, y: at, class: c.used ? '' : 'quiet' }, narrow ? c.act_bits + 'x' + c.wgt_bits : text + ': ' + +c.gmac_s.toPrecision(3));
      lastY = at;
    }
  }
  const taken = [];
  for (const p of R.points) {
    const l = F.layers[p.layer], px = p.macs_per_byte ? x(p.macs_per_byte) : W - right - 8, py = y(p.gmac_s);
    const g = draw(svg, 'g', { 'data-layer': p.layer + 1 });
    draw(g, 'line', { x1: px, x2: px, y1: py, y2: y(p.roof_gmac_s), stroke: 'var(--quiet)', 'stroke-dasharray': '2 3' });
    draw(g, 'circle', { cx: px, cy: py, r: 6, fill: colour(l.limit.what), stroke: 'var(--surface)', 'stroke-width': 1.5 });
    const free = [[9, 4], [-9, 4], [0, -10], [0, 18], [12, -8], [-12, -8], [12, 15], [-12, 15]].find(([dx, dy]) => !taken.some((t) => Math.abs(t[0] - px - dx * 1.6) < 15 && Math.abs(t[1] - py - dy) < 11));
    if (free) {
      draw(g, 'text', { x: px + free[0], y: py + free[1], 'text-anchor': free[0] > 0 ? 'start' : free[0] < 0 ? 'end' : 'middle' }, String(p.layer + 1));
      taken.push([px + free[0] * 1.6, py + free[1]]);
    }
    taken.push([px, py + 4]);
    hover(g, label(p.layer) + ' (' + l.act_bits + ' x ' + l.wgt_bits + ' bits)\n' + p.gmac_s.toFixed(2) + ' GMAC/s of ' + p.roof_gmac_s.toFixed(1) + ' possible (' + percent(p.gmac_s / p.roof_gmac_s) + ')\n' + (p.macs_per_byte ? p.macs_per_byte.toPrecision(3) + ' MACs per byte: the ' + (p.memory_bound ? 'memory' : 'array') + ' is the roof' : 'nothing moves: all on chip') + '\nlimited by: ' + l.limit.what);
    g.addEventListener('click', () => select(p.layer));
  }
}

// ---- the network
function network() {
  const host = $('network'), N = F.network;
  if (!N) { node(host, 'p', { class: 'hint', style: 'padding:0 1rem' }, 'A program file holds no network; run the model file to see it.'); return; }
  const svg = draw(host, 'svg', { width: N.width + 20, height: N.height + 20, viewBox: '-10 -10 ' + (N.width + 20) + ' ' + (N.height + 20), role: 'img', 'aria-label': 'the network, from its inputs down' });
  for (const e of N.edges) {
    const d = e.points.map((p, i) => {
      if (!i) return 'M' + p;
      const o = e.points[i - 1], m = (o[1] + p[1]) / 2;
      return p[0] === o[0] ? 'L' + p : 'C' + [o[0], m, p[0], m, p[0], p[1]];
    }).join('');
    hover(draw(svg, 'path', { d: d, fill: 'none', stroke: 'var(--quiet)', 'stroke-width': 1.5 }), e.tensor + '\n' + e.label);
    const p = e.points[0];
    const t = draw(svg, 'text', { x: p[0] + 6, y: p[1] + 14, class: 'quiet' }, e.label);
    if (N.edges.some((o) => o !== e && o.from === e.from && N.edges.indexOf(o) < N.edges.indexOf(e))) t.remove();
  }
  for (const b of N.nodes) {
    const g = draw(svg, 'g', {}), l = b.layer === null ? null : F.layers[b.layer];
    draw(g, 'rect', { x: b.x - b.w / 2, y: b.y - b.h / 2, width: b.w, height: b.h, rx: 6, fill: 'var(--raised)', stroke: 'var(--line)' });
    if (l) draw(g, 'rect', { x: b.x - b.w / 2, y: b.y - b.h / 2, width: 6, height: b.h, rx: 2, fill: colour(l.limit.what) });
    draw(g, 'text', { x: b.x - b.w / 2 + 14, y: b.y - 4, style: 'font-weight:600' }, short((l ? b.layer + 1 + '. ' : '') + b.title, 27));
    draw(g, 'text', { x: b.x - b.w / 2 + 14, y: b.y + 14, class: 'quiet' }, short(b.kind + (b.detail ? ' ' + b.detail : ''), 32));
    hover(g, b.title + '\n' + b.kind + ' ' + b.detail + (l ? '\n' + group(l.end - l.first) + ' cycles\n' + l.limit.sentence : ''));
    if (l) g.addEventListener('click', () => select(b.layer));
  }
  host.scrollLeft = Math.max(0, (N.width + 20 - host.clientWidth) / 2);
}

// ---- memory
function plane(id, height, depth, unit, title) {
  const host = $(id), W = room(host), left = 52, right = 8, H = height + 40;
  const svg = picture(host, W, H, title);
  const x = (t) => left + (W - left - right) * t / Math.max(1, T.cycles), y = (v) => height - (height - 8) * v / depth;
  cycleAxis(svg, 0, T.cycles, x, 8, height, 'cycles');
  for (const part of [0, 0.5, 1]) {
    draw(svg, 'line', { x1: left, x2: W - right, y1: y(part * depth), y2: y(part * depth), class: 'grid' });
    draw(svg, 'text', { x: left - 6, y: y(part * depth) + 4, class: 'quiet', 'text-anchor': 'end' }, Number.isInteger(part * depth) ? group(part * depth) : amount(part * depth));
  }
  draw(svg, 'text', { x: W - right, y: H - 6, class: 'quiet', 'text-anchor': 'end' }, unit);
  return { svg: svg, x: x, y: y };
}
function memory() {
  const M = F.memory, B = M.banks;
  const p = plane('banks', 190, B.plane_words, B.plane_words + ' plane-words of ' + B.plane_word_bits + ' bits, in ' + B.copies + ' copies', 'tensors in the activation banks over time');
  for (const t of B.tensors) {
    const a = p.x(t.from), b = p.x(t.to), top = p.y(Math.min(B.plane_words, t.first + t.length)), low = p.y(t.first);
    const r = draw(p.svg, 'rect', { x: a, y: top, width: Math.max(1, b - a - 1), height: Math.max(1, low - top - 1), fill: colour(t.rows ? 'memory' : 'useful'), stroke: 'var(--surface)' });
    if (b - a > 40 && low - top > 16) draw(p.svg, 'text', { x: a + 4, y: top + 13, 'pointer-events': 'none', style: 'fill:var(--surface)' }, short(t.name, Math.floor((b - a - 6) / 7)));
    hover(r, t.name + '\n' + t.ty + ' ' + t.shape + (t.rows ? ', the rows that the layer needs' : '') + '\nplane-words ' + group(t.first) + ' to ' + group(t.first + t.length) + '\nlayers ' + (t.layers[0] + 1) + ' to ' + (t.layers[1] + 1) + ', cycles ' + group(t.from) + ' to ' + group(t.to));
  }
  const w = plane('weights', 130, M.weights.depth, M.weights.depth + ' words of ' + M.weights.word_bytes + ' bytes', 'weights in the weight buffer over time');
  for (const [from, to, base, words, layer] of M.weights.blocks) {
    const a = w.x(from), b = w.x(to), top = w.y(base + words), low = w.y(base);
    const r = draw(w.svg, 'rect', { x: a, y: top, width: Math.max(0.7, b - a - (b - a > 3 ? 1 : 0)), height: Math.max(0.7, low - top - (low - top > 3 ? 1 : 0)), fill: colour('weights'), 'fill-opacity': 0.8 });
    hover(r, label(layer) + '\nwords ' + group(base) + ' to ' + group(base + words) + ' (' + group(words * M.weights.word_bytes) + ' B)\ncycles ' + group(from) + ' to ' + group(to));
  }
  const D = M.traffic, most = Math.max(D.read_limit / D.bucket_cycles, ...D.loaded.map((v, i) => (v + D.stored[i]) / D.bucket_cycles));
  const d = plane('traffic', 130, most, 'bytes per cycle; line: all read ports', 'bytes to and from memory over time');
  D.loaded.forEach((v, i) => {
    const a = d.x(i * D.bucket_cycles), b = d.x(Math.min(T.cycles, (i + 1) * D.bucket_cycles)), s = D.stored[i];
    const bar = (name, lo, hi) => {
      if (hi <= lo) return;
      const top = d.y(hi / D.bucket_cycles), low = d.y(lo / D.bucket_cycles);
      const r = draw(d.svg, 'rect', { x: a, y: top, width: Math.max(0.6, b - a), height: Math.max(0.5, low - top), fill: colour(name) });
      hover(r, 'cycles ' + group(i * D.bucket_cycles) + ' on\nloaded ' + group(v) + ' B, stored ' + group(s) + ' B\n' + ((v + s) / D.bucket_cycles).toFixed(2) + ' bytes per cycle');
    };
    bar('memory', 0, v);
    bar('post', v, v + s);
  });
  const limit = d.y(D.read_limit / D.bucket_cycles);
  draw(d.svg, 'line', { x1: d.x(0), x2: d.x(T.cycles), y1: limit, y2: limit, stroke: 'var(--ink)', 'stroke-dasharray': '5 4' });
}

// ---- start
legend('bars-legend', PARTS.map((p) => [p, p, MEANING[p]]));
legend('banks-legend', [['useful', 'whole tensor'], ['memory', 'rows of a tensor that is kept in memory']]);
legend('traffic-legend', [['memory', 'loaded'], ['post', 'stored']]);
$('bars-mode').addEventListener('click', () => {
  shares = !shares;
  $('bars-mode').textContent = shares ? 'show cycles' : 'show shares';
  bars();
});
document.querySelectorAll('#layers tbody tr').forEach((r, i) => r.addEventListener('click', () => {
  select(i);
  $('layer-card').scrollIntoView({ block: 'nearest' });
}));
function all() { bars(); timeline(); roofline(); memory(); }
all();
network();
gestures();
const slowest = F.layers.reduce((m, l, i) => (l.end - l.first > F.layers[m].end - F.layers[m].first ? i : m), 0);
select(slowest);
let width = window.innerWidth;
window.addEventListener('resize', () => { if (window.innerWidth !== width) { width = window.innerWidth; all(); } });
document.documentElement.dataset.ready = 'yes';
})();
