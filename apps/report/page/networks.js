// Pictures of single networks: strips to compare, cost by layer, memory over the layers (pictures 5 to 7).
import { bytes, h, number, percent, replace, short, table, timed } from './dom.js';
import { Figure, tip } from './figure.js';
import { colourOf, legend, shape, strip, windowColours } from './strip.js';

export class Strips {
  constructor(app) {
    this.app = app;
    this.host = h('div', {});
    this.element = h('div', {}, this.host);
  }
  update() {
    const { app } = this, { run } = app;
    const shown = app.compared.filter((n) => run.place.has(n));
    const layers = shown.map((n) => run.layers(n));
    const tallest = Math.max(1, ...layers.flatMap((l) => (l ? l.map((k) => k.out[0]) : [])));
    replace(this.host, shown.length === 0 ? h('p', { class: 'empty' }, 'No candidate to show.')
      : shown.map((n, i) => h('div', { class: 'compare', 'data-strip': n },
        h('p', { class: 'striphead' }, h('button', { type: 'button', class: 'link', onclick: () => app.select(n) }, run.id(n)), ' ',
          run.metrics.map((m) => `${m.name} ${m.text(run.value(m, run.place.get(n)))}`).join(' · '),
          shown.length > 1 ? h('button', { type: 'button', class: 'chip', title: 'remove from the comparison', onclick: () => app.unpin(n) }, '×') : null),
        layers[i] ? strip(layers[i], { tallest, width: this.element.clientWidth, title: run.id(n), session: app.session, unit: run.sessions[app.session]?.unit })
          : h('p', { class: 'empty' }, noLayers(run)))),
    layers.some(Boolean) ? legend() : null);
  }
}

export function noLayers(run) {
  return run.json.architectures ? 'The layers of this candidate are not in the page; `hwnas show` prints them.'
    : `The space "${run.json.space}" is no built-in one and its file was not found, so its networks cannot be drawn.`;
}

export class Layers {
  constructor(app) {
    this.app = app;
    this.order = h('select', { onchange: () => this.update() }, h('option', { value: 'run' }, 'in order'), h('option', { value: 'cost' }, 'largest first'));
    this.what = h('select', { onchange: () => this.update() });
    this.figure = new Figure({
      id: 'layers', height: 420, options: (c) => this.options(c), empty: () => (this.layers ? null : noLayers(app.run)),
      label: () => `Cost of each of the ${this.layers.length} kernels of ${app.run.id(app.selected)}`,
    });
    this.note = h('p', { class: 'note' });
    this.details = h('details', {}, h('summary', {}, 'All layers as a table'));
    this.element = h('div', {}, h('div', { class: 'tools' }, h('label', {}, 'show ', this.what), h('label', {}, 'order ', this.order)),
      this.figure.element, this.note, this.details);
  }
  get layers() {
    return this.app.selected === null ? null : this.app.run.layers(this.app.selected);
  }
  /** What there is to show: measured times of each session, modelled energy, MACs, weights. */
  choices() {
    const { run, selected } = this.app, layers = this.layers, out = [];
    run.sessions.forEach((s, i) => {
      const known = layers.filter((l) => l.times[i] !== null).length;
      if (known > 0) out.push({ name: `${s.unit === 'ns' ? 'time' : s.unit} on ${s.device}, measured`, values: layers.map((l) => l.times[i]), text: (v) => timed(v, s.unit), scale: s.unit === 'ns' ? 1e-3 : 1,
        axis: s.unit === 'ns' ? 'µs' : s.unit, note: known < layers.length ? `${known} of ${layers.length} kernels are in the table of ${s.device}.` : `Every kernel is in the table of ${s.device}.` });
    });
    const energy = run.details(selected)?.energy;
    out.push({ name: 'MACs, exact', values: layers.map((l) => l.macs), text: (v) => short(v), scale: 1, axis: 'MACs', note: '' });
    if (energy && energy.joules.length === layers.length)
      out.push({ name: 'energy, modelled', values: energy.joules.map((j) => 1e6 * j), text: (v) => `${number(v)} µJ`, scale: 1, axis: 'µJ',
        note: `Modelled with the coefficients "${energy.table}", not measured.` });
    out.push({ name: 'weights, exact', values: layers.map((l) => l.bytes), text: bytes, scale: 1, axis: 'bytes', note: '' });
    return out;
  }
  update() {
    const layers = this.layers;
    if (layers) {
      const choices = this.choices(), before = this.what.selectedOptions[0]?.textContent;
      replace(this.what, choices.map((c, i) => h('option', { value: i }, c.name)));
      const kept = choices.findIndex((c) => c.name === before);
      this.what.value = kept < 0 ? 0 : kept;
      this.figure.setHeight(Math.max(220, 70 + 15 * layers.length));
      this.note.textContent = choices[this.what.value].note;
      replace(this.details, h('summary', {}, 'All layers as a table'), layerTable(this.app.run, layers));
    }
    this.details.hidden = !layers;
    this.figure.update();
  }
  options(c) {
    const layers = this.layers, chosen = this.choices()[this.what.value];
    const order = layers.map((_, i) => i);
    if (this.order.value === 'cost') order.sort((a, b) => (chosen.values[b] ?? -1) - (chosen.values[a] ?? -1));
    const sum = chosen.values.reduce((a, b) => a + (b ?? 0), 0) || 1;
    let so_far = 0;
    const cumulative = order.map((i) => (100 * (so_far += chosen.values[i] ?? 0)) / sum);
    return {
      grid: { left: 10, right: 40, top: 44, bottom: 34, containLabel: true },
      legend: { data: [chosen.name, 'sum so far'] },
      tooltip: { trigger: 'axis', axisPointer: { type: 'shadow' }, formatter: (all) => {
        const at = order[all[0].dataIndex], l = layers[at];
        return tip(l.name, [['kernel', l.signature], [chosen.name, chosen.values[at] === null ? 'not in the table' : chosen.text(chosen.values[at])],
          ['share', percent((chosen.values[at] ?? 0) / sum)], ['sum so far', `${number(cumulative[all[0].dataIndex])} %`]]);
      } },
      xAxis: [{ type: 'value', name: chosen.axis, nameLocation: 'middle', nameGap: 22, axisLabel: { formatter: (v) => short(v) } },
        { type: 'value', max: 100, min: 0, axisLabel: { formatter: '{value} %' }, splitLine: { show: false } }],
      yAxis: { type: 'category', inverse: true, data: order.map((i) => layers[i].name), axisLabel: { fontSize: 10, interval: 0, width: 150, overflow: 'truncate' } },
      series: [
        { type: 'bar', name: chosen.name, barCategoryGap: '20%', itemStyle: { color: c.blue },
          data: order.map((i) => ({ value: (chosen.values[i] ?? 0) * chosen.scale, itemStyle: { color: windowColours[colourOf(layers[i])] } })) },
        { type: 'line', name: 'sum so far', xAxisIndex: 1, symbol: 'none', data: cumulative.map((v, i) => [v, i]), lineStyle: { color: c.muted, width: 1.5 }, itemStyle: { color: c.muted } },
      ],
    };
  }
}

export function layerTable(run, layers) {
  return table([
    { head: '#', number: true, cell: (l) => l.index },
    { head: 'layer', cell: (l) => l.name },
    { head: 'kernel', code: true, cell: (l) => l.signature },
    { head: 'output', cell: (l) => shape(l.out) },
    { head: 'MACs', number: true, cell: (l) => short(l.macs) },
    { head: 'weights', number: true, cell: (l) => bytes(l.bytes) },
    ...run.sessions.map((s, i) => ({ head: `${s.device}, measured`, number: true, cell: (l) => (l.times[i] === null ? '–' : timed(l.times[i], s.unit)) })),
  ], layers, { label: 'Layers' });
}

/** A run's limit on activation memory in bytes, whatever unit it was written in. */
function ramLimit(run) {
  for (const c of run.constraints) {
    const metric = run.metric(c.metric);
    if (!/ram|memory|arena/i.test(c.metric) || c.max === null || !metric) continue;
    const scale = { bytes: 1, B: 1, KiB: 1024, kB: 1000, KB: 1024, MiB: 1 << 20, MB: 1e6 }[metric.unit];
    if (scale) return c.max * scale;
  }
  return null;
}

export class Memory {
  constructor(app) {
    this.app = app;
    const empty = () => (this.details ? null : 'Memory by layer is in the page for candidates on the front and the best one; choose one of those.');
    this.live = new Figure({ id: 'ram', height: 280, empty, options: (c) => this.liveOptions(c), label: () => `Bytes alive at every step of ${app.run.id(app.selected)}` });
    this.arena = new Figure({ id: 'arena', height: 280, empty: () => (this.details ? null : ''), options: (c) => this.arenaOptions(c),
      label: () => `Where every tensor of ${app.run.id(app.selected)} lies in the arena, over the steps` });
    this.flash = new Figure({ id: 'flash', height: 120, empty: () => (this.app.selected !== null && this.app.run.layers(this.app.selected) ? null : ''), options: (c) => this.flashOptions(c),
      label: () => `Bytes of weights of ${app.run.id(app.selected)} by part of the network` });
    this.note = h('p', { class: 'note' });
    this.element = h('div', {}, this.live.element, this.note, this.arena.element, this.flash.element);
  }
  get details() {
    return this.app.selected === null ? null : this.app.run.details(this.app.selected);
  }
  update() {
    const d = this.details;
    if (d) {
      const peak = d.live.indexOf(Math.max(...d.live)), limit = ramLimit(this.app.run);
      const weights = (this.app.run.layers(this.app.selected) ?? []).reduce((a, l) => a + l.bytes, 0);
      this.note.textContent = `Peak ${bytes(d.live[peak])} at ${d.steps[peak]}` + (limit ? `, ${percent(d.live[peak] / limit)} of the limit of ${bytes(limit)}` : '') +
        `. Arena ${bytes(d.arena.size)}` + (d.arena.size === d.arena.bound ? ', the smallest possible' : ` (no plan is below ${bytes(d.arena.bound)})`) +
        `. Weights in flash ${bytes(weights)}. Modelled: ${this.app.run.json.architectures.parts.precision}, memory model "${d.memory_model}".`;
    } else this.note.textContent = '';
    this.live.update();
    this.arena.update();
    this.flash.update();
  }
  /** Every buffer of every step, one upon the other: [step, from, to, block]. What lies in the same bytes counts once. */
  stacks() {
    const { arena, steps } = this.details, bars = [];
    steps.forEach((_, step) => {
      const here = arena.blocks.map((b, k) => ({ ...b, k })).filter((b) => b.first <= step && step <= b.last).sort((a, b) => a.offset - b.offset || b.size - a.size);
      let sum = 0, end = 0;
      for (const b of here) {
        const fresh = b.offset + b.size - Math.max(end, b.offset);
        if (fresh <= 0) continue;
        bars.push([step, sum / 1024, (sum + fresh) / 1024, b.k]);
        sum += fresh;
        end = b.offset + b.size;
      }
    });
    return bars;
  }
  liveOptions(c) {
    const d = this.details, limit = ramLimit(this.app.run), peak = Math.max(...d.live), at = d.live.indexOf(peak), shades = [c.blue, c.green, c.orange, c.purple, c.sky], bars = this.stacks();
    const top = Math.ceil((Math.max(peak, limit && limit < 3 * peak ? limit : 0) / 1024) * 1.12);
    return {
      grid: { left: 10, right: 22, top: 30, bottom: 34, containLabel: true },
      tooltip: { trigger: 'item', formatter: (p) => {
        const [step, from, to, k] = bars[p.dataIndex] ?? [];
        return step === undefined ? '' : tip(d.steps[step], [['buffer', d.arena.blocks[k].name], ['its bytes', bytes(1024 * (to - from))], ['needed at this step', bytes(d.live[step])]]);
      } },
      xAxis: { type: 'value', min: 0, max: d.steps.length, name: 'step', nameLocation: 'middle', nameGap: 22, splitLine: { show: false } },
      yAxis: { type: 'value', name: 'buffers in the arena [KiB]', nameTextStyle: { align: 'left' }, min: 0, max: top },
      series: [{ type: 'custom', name: 'buffers', encode: { x: 0, y: [1, 2] }, data: bars,
        renderItem: (params, api) => {
          const a = api.coord([api.value(0), api.value(2)]), z = api.coord([api.value(0) + 1, api.value(1)]);
          return { type: 'rect', shape: { x: a[0] + 1, y: a[1], width: Math.max(1, z[0] - a[0] - 2), height: Math.max(1, z[1] - a[1]) }, style: { fill: shades[api.value(3) % shades.length], opacity: 0.8, stroke: c.card, lineWidth: 1 } };
        },
        markPoint: { silent: true, symbol: 'circle', symbolSize: 1, data: [{ coord: [at + 0.5, peak / 1024] }], label: { formatter: `peak: ${d.steps[at]}`, position: at > d.steps.length / 2 ? 'left' : 'right', offset: [0, -8], color: c.ink, fontWeight: 'bold' } },
        markLine: limit ? { silent: true, symbol: 'none', data: [{ yAxis: limit / 1024 }], label: { formatter: `limit ${bytes(limit)}`, position: 'insideEndTop', color: c.ink }, lineStyle: { color: c.accent, type: 'dashed', width: 1.5 } } : undefined }],
    };
  }
  /** Weights by part: stem, stages, head. */
  sections() {
    const sums = new Map();
    for (const l of this.app.run.layers(this.app.selected)) {
      const first = l.name.split('.')[0], name = /^stage\d+$/.test(first) ? first.replace('stage', 'stage ') : l.stage > 0 || first === 'stem' ? first : 'head and classifier';
      sums.set(name, (sums.get(name) ?? 0) + l.bytes);
    }
    return [...sums].filter(([, b]) => b > 0);
  }
  flashOptions(c) {
    const shades = [c.blue, c.green, c.orange, c.purple, c.sky, c.grey], parts = this.sections(), sum = parts.reduce((a, [, b]) => a + b, 0);
    return {
      grid: { left: 10, right: 22, top: 40, bottom: 34, containLabel: true }, legend: { left: 0, right: 'auto' },
      tooltip: { trigger: 'item', formatter: (p) => tip(p.seriesName, [['weights', bytes(p.value * 1024)], ['share', percent((p.value * 1024) / sum)]]) },
      xAxis: { type: 'value', name: 'weights in flash [KiB]', nameLocation: 'middle', nameGap: 22, max: sum / 1024 || 1, axisLabel: { formatter: (v) => number(v) } }, yAxis: { type: 'category', data: [''] },
      series: parts.map(([name, b], i) => ({ type: 'bar', name, stack: 'flash', data: [b / 1024], barWidth: 22, itemStyle: { color: shades[i % shades.length] } })),
    };
  }
  arenaOptions(c) {
    const { arena, steps } = this.details, shades = [c.blue, c.green, c.orange, c.purple, c.sky];
    return {
      grid: { left: 10, right: 22, top: 30, bottom: 34, containLabel: true },
      tooltip: { trigger: 'item', formatter: (p) => {
        const b = arena.blocks[p.dataIndex];
        return b ? tip(b.name, [['from', bytes(b.offset)], ['size', bytes(b.size)], ['steps', `${b.first}–${b.last}`]]) : '';
      } },
      xAxis: { type: 'value', min: 0, max: steps.length, name: 'step', nameLocation: 'middle', nameGap: 22, splitLine: { show: false } },
      yAxis: { type: 'value', min: 0, max: Math.ceil(arena.size / 1024), name: 'place in the arena [KiB]', nameTextStyle: { align: 'left' } },
      series: [{ type: 'custom', encode: { x: [0, 1], y: [2, 3] }, data: arena.blocks.map((b) => [b.first, b.last + 1, b.offset / 1024, (b.offset + b.size) / 1024]),
        renderItem: (params, api) => {
          const a = api.coord([api.value(0), api.value(3)]), z = api.coord([api.value(1), api.value(2)]);
          return { type: 'rect', shape: { x: a[0], y: a[1], width: Math.max(1, z[0] - a[0] - 1), height: Math.max(1, z[1] - a[1]) },
            style: { fill: shades[params.dataIndex % shades.length], opacity: 0.75, stroke: c.card, lineWidth: 1 } };
        } }],
    };
  }
}
