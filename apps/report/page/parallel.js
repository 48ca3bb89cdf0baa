// Parallel coordinates with brushing, and the table of exactly the candidates that are left (picture 4).
import { h, number, replace, table } from './dom.js';
import { Figure } from './figure.js';
import { extent } from './model.js';

const pageSize = 25;
const mostAxes = 16;
const axisRoom = 76;  // pixels between two axes at least: on a phone the picture scrolls sideways

/** Gene columns reduced to what fits: single genes as they are, families with many members by their mean. */
function geneAxes(run, room) {
  const families = new Map();
  for (const column of run.columns) {
    if (!families.has(column.key)) families.set(column.key, []);
    families.get(column.key).push(column);
  }
  const numeric = (label) => (label === undefined || label === '-' || label === '' || Number.isNaN(Number(label)) ? null : Number(label));
  const single = (c) => {
    const labels = [...new Set(c.labels.filter((l) => l !== undefined && l !== '-'))];
    const numbers = labels.every((l) => numeric(l) !== null);
    return numbers ? { name: c.name, values: c.labels.map(numeric) }
      : { name: c.name, categories: labels.sort(), values: c.labels.map((l) => (l === undefined ? null : l)) };
  };
  const mean = (members) => ({
    name: `mean ${members[0].word}`,
    values: run.candidates.number.map((_, i) => {
      const known = members.map((m) => numeric(m.labels[i])).filter((v) => v !== null);
      return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
    }),
  });
  const all = [...families.values()];
  let detailed = all.flatMap((members) => members.map(single));
  if (detailed.length > room) detailed = all.flatMap((m) => (m.length === 1 ? [single(m[0])] : [mean(m)]));
  return detailed.filter((a) => a.categories?.length !== 1).slice(0, room);
}

export class Parallel {
  constructor(app) {
    this.app = app;
    this.rows = [];
    this.page = 0;
    this.sort = { metric: null, up: false };
    this.intervals = new Map();  // axis number -> [low, high]
    this.figure = new Figure({
      id: 'parallel', height: 380, options: (c) => this.options(c),
      label: () => `Parallel coordinates of ${app.run.size} candidates over ${this.axes.length} axes; drag along an axis or use the fields below to filter.`,
      empty: () => (app.run.size === 0 ? 'No candidate yet.' : null),
      ready: (chart) => chart.on('axisareaselected', () => this.brushed(chart)),
    });
    this.axisMenu = h('select', { 'aria-label': 'axis to filter' });
    this.low = h('input', { type: 'number', step: 'any', 'aria-label': 'at least', placeholder: 'at least' });
    this.high = h('input', { type: 'number', step: 'any', 'aria-label': 'at most', placeholder: 'at most' });
    this.chips = h('span', { class: 'chips' });
    this.tableHost = h('div', {});
    this.element = h('div', {}, h('div', { class: 'sideways', tabindex: 0, role: 'region', 'aria-label': 'Parallel coordinates' }, this.figure.element),
      h('form', { class: 'tools', onsubmit: (e) => { e.preventDefault(); this.filter(); } },
        h('label', {}, 'keep ', this.axisMenu), this.low, this.high,
        h('button', { type: 'submit' }, 'filter'), this.chips),
      this.tableHost);
  }
  setRun() {
    this.intervals.clear();
    this.page = 0;
    this.update();
  }
  /** Values are as shown: metrics first to last at the right, genes at the left. */
  get axes() {
    const run = this.app.run;
    if (this.made?.size === run.size && this.made.run === run) return this.made.axes;
    const metrics = run.metrics.map((m) => ({ name: m.name, metric: m, values: run.candidates.values[m.index].map((v) => m.shown(v)) }));
    const axes = [...geneAxes(run, Math.max(3, mostAxes - metrics.length)), ...metrics];
    this.made = { size: run.size, run, axes };
    return axes;
  }
  update() {
    this.made = null;
    this.intervals.forEach((_, a) => a >= this.axes.length && this.intervals.delete(a));
    replace(this.axisMenu, this.axes.map((a, i) => (a.categories ? null : h('option', { value: i }, a.name))));
    this.apply();
    this.figure.element.style.minWidth = `${axisRoom * this.axes.length}px`;
    this.figure.update();
    if (this.intervals.size > 0) this.showAreas();
  }
  filter() {
    const axis = Number(this.axisMenu.value), read = (field, none) => (field.value === '' ? none : Number(field.value));
    const reach = extent(this.axes[axis].values) ?? [0, 0];
    this.intervals.set(axis, [read(this.low, reach[0]), read(this.high, reach[1])]);
    this.low.value = this.high.value = '';
    this.apply();
    this.showAreas();
  }
  /** The picture follows filters that came from the fields. */
  showAreas() {
    const chart = this.figure.chart;
    if (!chart) return;
    const wanted = new Map(this.intervals);
    this.axes.forEach((_, i) => chart.dispatchAction({ type: 'axisAreaSelect', parallelAxisIndex: i, intervals: wanted.has(i) ? [wanted.get(i)] : [] }, { silent: true }));
  }
  /** The mouse has left its areas on the axes. */
  brushed(chart) {
    this.intervals.clear();
    this.axes.forEach((axis, i) => {
      const areas = chart.getModel().getComponent('parallelAxis', i)?.activeIntervals ?? [];
      if (areas.length === 0) return;
      this.intervals.set(i, axis.categories ? areas[0].map((v) => Math.round(v)) : [...areas[0]].sort((a, b) => a - b));
    });
    this.apply();
  }
  keeps(i) {
    for (const [a, [low, high]] of this.intervals) {
      const axis = this.axes[a], raw = axis.values[i];
      const v = axis.categories ? axis.categories.indexOf(raw) : raw;
      if (v === null || v === undefined || v < low || v > high) return false;
    }
    return true;
  }
  apply() {
    const { run } = this.app;
    this.rows = [...Array(run.size).keys()].filter((i) => this.keeps(i));
    const by = this.sort.metric ?? run.metric(run.objectives[0].metric);
    const up = this.sort.metric ? this.sort.up : run.objectives[0].goal === 'min';
    // Feasible first, then by value; candidates without a number come last.
    const rank = (i) => (run.failed(i) ? 2 : run.feasible(i) ? 0 : 1);
    this.rows.sort((a, b) => rank(a) - rank(b) || (up ? 1 : -1) * (run.value(by, a) - run.value(by, b)) || a - b);
    this.page = Math.min(this.page, Math.max(0, Math.ceil(this.rows.length / pageSize) - 1));
    this.showTable();
  }
  showTable() {
    const { app } = this, { run } = app;
    replace(this.chips, [...this.intervals].map(([a, [low, high]]) =>
      h('button', { type: 'button', class: 'chip', title: 'remove this filter', onclick: () => {
        this.intervals.delete(a);
        this.apply();
        this.showAreas();
      } }, `${this.axes[a].name}: ${Number.isFinite(low) ? number(low) : '…'} – ${Number.isFinite(high) ? number(high) : '…'} ×`)));
    const from = this.page * pageSize, shown = this.rows.slice(from, from + pageSize);
    const sortButton = (m) => h('button', { type: 'button', class: 'sort', onclick: () => {
      this.sort = { metric: m, up: this.sort.metric === m ? !this.sort.up : m.name !== run.objectives[0].metric };
      this.apply();
    } }, m.axis, h('small', {}, m.source));
    const number_ = (i) => run.candidates.number[i];
    replace(this.tableHost,
      h('p', { class: 'note', id: 'rows-kept', 'aria-live': 'polite' }, `${this.rows.length} of ${run.size} candidates`),
      table([
        { head: 'candidate', cell: (i) => h('button', { type: 'button', class: 'link', onclick: () => app.select(number_(i)) }, run.id(number_(i))) },
        { head: 'is', cell: (i) => run.kind(i) },
        ...run.metrics.map((m) => ({ head: sortButton(m), number: true, cell: (i) => m.plain(run.value(m, i)) })),
        { head: 'architecture', code: true, cell: (i) => (run.failed(i) ? `${run.candidates.arch[i]} — ${run.candidates.failure[i]}` : run.candidates.arch[i]) },
      ], shown, { label: 'Candidates that the filter keeps', key: number_, rowClass: (i) => run.kind(i).split(' ')[0] }),
      this.rows.length > pageSize ? h('div', { class: 'tools pages' },
        h('button', { type: 'button', disabled: this.page === 0, onclick: () => this.turn(-1) }, '‹ previous'),
        h('span', {}, `${from + 1}–${from + shown.length}`),
        h('button', { type: 'button', disabled: from + pageSize >= this.rows.length, onclick: () => this.turn(1) }, 'next ›')) : null);
  }
  turn(by) {
    this.page += by;
    this.showTable();
  }
  options(c) {
    const { run } = this.app, axes = this.axes;
    const data = { front: [], dominated: [], other: [] };
    for (let i = 0; i < run.size; ++i) {
      const kind = run.kind(i);
      data[kind === 'front' || kind === 'dominated' ? kind : 'other'].push({ value: axes.map((a) => a.values[i] ?? '-'), number: run.candidates.number[i] });
    }
    const line = (name, color, width, opacity, z) => ({ type: 'parallel', name, data: data[name], z, progressive: 400,
      progressiveThreshold: 1500, smooth: false, lineStyle: { color, width, opacity }, inactiveOpacity: 0.03, activeOpacity: Math.max(opacity, 0.5) });
    const dense = run.size > 3000 ? 0.35 : 1;
    return {
      parallel: { left: 42, right: 64, top: 54, bottom: 24, axisExpandable: false,
        parallelAxisDefault: { nameLocation: 'end', nameGap: 14, nameRotate: axes.length > 8 ? 25 : 0, nameTextStyle: { color: c.ink, fontSize: 11 },
          axisLine: { lineStyle: { color: c.muted } }, axisTick: { show: false }, axisLabel: { color: c.ink, fontSize: 10, textBorderColor: c.card, textBorderWidth: 3 },
          areaSelectStyle: { width: 18, color: c.accent, opacity: 0.25, borderColor: c.accent } } },
      parallelAxis: axes.map((a, dim) => ({ dim, name: a.name, ...(a.categories ? { type: 'category', data: a.categories } : { type: 'value', scale: true }) })),
      series: [line('other', c.grey, 1, 0.25 * dense, 1), line('dominated', c.blue, 1, 0.35 * dense, 2), line('front', c.accent, 2, 0.9, 3)],
    };
  }
}
