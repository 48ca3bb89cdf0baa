// Predicted beside measured, and devices side by side (pictures 8, 13).
import { h, number, percent, replace, table, timed } from './dom.js';
import { Figure, tip } from './figure.js';
import { extent, kendall } from './model.js';

const tauLimit = 1500;

/** All pairs in the document: files of predictions, and metrics NAME beside NAME_measured of searches. */
function pairsOf(app) {
  const groups = [];
  for (const file of app.data.predictions) {
    const by = new Map();
    for (const row of file.rows) {
      const key = [row.metric ?? 'value', row.device ?? ''].join(' on ').replace(/ on $/, '');
      if (!by.has(key)) by.set(key, { name: key, unit: row.unit ?? '', rows: [] });
      by.get(key).rows.push({ name: row.arch ?? '', predicted: row.predicted, measured: row.measured, low: row.low, high: row.high });
    }
    groups.push(...by.values());
  }
  for (const run of app.runs)
    for (const metric of run.metrics) {
      const other = run.metric(`${metric.name}_measured`);
      if (!other) continue;
      const rows = [];
      for (let i = 0; i < run.size; ++i) {
        const predicted = run.value(metric, i), measured = run.value(other, i);
        if (predicted !== null && measured !== null) rows.push({ name: run.id(run.candidates.number[i]), predicted, measured });
      }
      if (rows.length) groups.push({ name: `${metric.name} in ${run.name}`, unit: metric.unit, rows });
    }
  return groups;
}

export class Prediction {
  constructor(app) {
    this.app = app;
    this.menu = h('select', { onchange: () => this.update() });
    const empty = () => (this.group ? null : 'No number is known both predicted and measured. A file of lines {"predicted", "measured"} named predictions.jsonl, or metrics NAME and NAME_measured of a search, are shown here.');
    this.scatter = new Figure({ id: 'prediction', height: 380, empty, options: (c) => this.options(c), label: () => `Predicted against measured ${this.group.name}, with the diagonal and a band of 10 %` });
    this.residuals = new Figure({ id: 'residuals', height: 380, empty: () => (this.group ? null : ''), options: (c) => this.residualOptions(c), label: () => `Relative error by measured ${this.group.name}` });
    this.note = h('p', { class: 'note' });
    this.tools = h('div', { class: 'tools' }, h('label', {}, 'show ', this.menu));
    this.known = h('div', {});
    this.element = h('div', {}, this.tools, this.note, h('div', { class: 'two' }, this.scatter.element, this.residuals.element), this.known);
  }
  update() {
    const groups = pairsOf(this.app), chosen = Math.max(0, Number(this.menu.value || 0));
    replace(this.menu, groups.map((g, i) => h('option', { value: i }, g.name)));
    this.group = groups[Math.min(chosen, groups.length - 1)];
    this.tools.hidden = groups.length < 2;
    if (groups.length) this.menu.value = Math.min(chosen, groups.length - 1);
    this.note.textContent = this.group ? this.words(this.group) : '';
    const p = this.app.data.predictors;
    replace(this.known, p.length ? table([
      { head: 'predictor', cell: (r) => r.name }, { head: 'of', cell: (r) => r.target }, { head: 'algorithm', cell: (r) => r.algorithm },
      { head: 'fitted on', number: true, cell: (r) => r.n_train }, { head: 'MAPE', number: true, cell: (r) => percent(r.mape) },
      { head: 'within ±10 %', number: true, cell: (r) => percent(r.within10) }, { head: "Kendall's τ", number: true, cell: (r) => number(r.kendall) }], p, { label: 'Predictors' }) : null);
    this.scatter.update();
    this.residuals.update();
  }
  words(g) {
    const errors = g.rows.map((r) => Math.abs(r.predicted / r.measured - 1)), few = g.rows.slice(0, tauLimit);
    const within = errors.filter((e) => e <= 0.1).length / errors.length;
    const tau = kendall(few.map((r) => r.predicted), few.map((r) => r.measured));
    const bounded = g.rows.filter((r) => r.low !== undefined && r.high !== undefined);
    const covered = bounded.filter((r) => r.low <= r.measured && r.measured <= r.high).length / bounded.length;
    return `n = ${g.rows.length}, MAPE ${percent(errors.reduce((a, b) => a + b, 0) / errors.length)}, within ±10 % ${percent(within)}` +
      (tau === null ? '' : `, Kendall's τ ${number(tau)}${g.rows.length > tauLimit ? ` (first ${tauLimit})` : ''}`) + (bounded.length ? `, intervals cover ${percent(covered)}` : '') + '.';
  }
  options(c) {
    const g = this.group, k = g.unit === 'share' ? 100 : 1, unit = k === 100 ? '%' : g.unit || 'value', [low, high] = extent(g.rows.flatMap((r) => [k * r.predicted, k * r.measured]));
    const ends = [Math.min(low, 0) < 0 ? low : 0.9 * low, 1.05 * high], line = (slope, type) => ({ type: 'line', name: type, silent: true, symbol: 'none', data: ends.map((v) => [v, slope * v]), lineStyle: { color: c.muted, type: slope === 1 ? 'solid' : 'dashed', width: 1 }, itemStyle: { color: c.muted } });
    const axis = (name) => ({ type: 'value', min: ends[0], max: ends[1], name: `${name} [${unit}]`, axisLabel: { formatter: (v) => number(v), showMinLabel: false, showMaxLabel: false } });
    return {
      grid: { left: 10, right: 26, top: 44, bottom: 40, containLabel: true },
      tooltip: { trigger: 'item', formatter: (p) => (g.rows[p.dataIndex] && p.seriesName === 'networks' ? tip(g.rows[p.dataIndex].name, [['predicted', number(p.value[1])], ['measured', number(p.value[0])], ['error', percent(p.value[1] / p.value[0] - 1)]]) : '') },
      xAxis: { ...axis('measured'), nameLocation: 'middle', nameGap: 28 }, yAxis: { ...axis('predicted'), nameTextStyle: { align: 'left' } },
      series: [line(1, 'equal'), line(1.1, '±10 %'), line(0.9, '±10 %'), { type: 'scatter', name: 'networks', data: g.rows.map((r) => [k * r.measured, k * r.predicted]), symbolSize: g.rows.length > 500 ? 4 : 7, itemStyle: { color: c.blue, opacity: 0.6 } }],
      legend: { data: ['networks', 'equal', '±10 %'] },
    };
  }
  residualOptions(c) {
    const g = this.group, k = g.unit === 'share' ? 100 : 1;
    return {
      grid: { left: 10, right: 26, top: 44, bottom: 40, containLabel: true },
      tooltip: { trigger: 'item', formatter: (p) => tip(g.rows[p.dataIndex].name, [['error', `${number(p.value[1])} %`]]) },
      xAxis: { type: 'value', scale: true, name: `measured [${k === 100 ? '%' : g.unit || 'value'}]`, nameLocation: 'middle', nameGap: 28 }, yAxis: { type: 'value', name: 'error [%]', nameTextStyle: { align: 'left' } },
      series: [{ type: 'scatter', data: g.rows.map((r) => [k * r.measured, 100 * (r.predicted / r.measured - 1)]), symbolSize: g.rows.length > 500 ? 4 : 7, itemStyle: { color: c.blue, opacity: 0.6 },
        markArea: { silent: true, itemStyle: { color: c.green, opacity: 0.12 }, data: [[{ yAxis: -10 }, { yAxis: 10 }]] } }],
    };
  }
}

/** One table of kernels, several devices: each point a kernel in both. */
export class Devices {
  constructor(app) {
    this.app = app;
    this.figure = new Figure({ id: 'devices', height: 380, options: (c) => this.options(c), label: 'Fronts of the runs side by side',
      empty: () => (this.fronts().length > 1 ? null : 'One search is shown; searches for other devices with the same first objective appear here side by side.') });
    this.kernels = new Figure({ id: 'device-kernels', height: 380, options: (c) => this.kernelOptions(c), label: 'Kernels measured on several devices',
      empty: () => (this.shared().length ? null : '') });
    this.carried = h('div', {});
    this.element = h('div', {}, this.figure.element, this.carried, this.kernels.element);
  }
  update() {
    this.figure.update();
    this.showCarried();
    this.kernels.update();
  }
  /** How good the front found for one device is on another, at equal latency. */
  showCarried() {
    const { crossed } = this.app.data, { runs } = this.app, rows = [];
    for (const pair of crossed ?? []) {
      const own = runs[pair.on], metric = own.metric(pair.metric), first = own.metric(own.objectives[0].metric), up = own.objectives[0].goal === 'max';
      const points = own.json.front.map((n) => own.place.get(n)).map((i) => [own.value(metric, i), own.value(first, i)]).sort((a, b) => a[0] - b[0]);
      const best = (list, limit) => list.filter(([l]) => l <= limit * (1 + 1e-9)).reduce((b, [, v]) => (b === null || (up ? v > b : v < b) ? v : b), null);
      for (const part of [0.25, 0.5, 0.75]) {
        const limit = points[Math.floor(part * (points.length - 1))][0];
        rows.push({ on: own.name, from: runs[pair.from].name, limit: metric.text(limit), own: best(points, limit), carried: best(pair.points, limit), first });
      }
    }
    replace(this.carried, rows.length ? [h('p', { class: 'note' }, `Dashed: the networks of another device's front with their latency from this device's table. At equal latency:`),
      table([{ head: 'on', cell: (r) => r.on }, { head: 'latency at most', number: true, cell: (r) => r.limit }, { head: 'its own front', number: true, cell: (r) => r.first.text(r.own) },
        { head: 'front of', cell: (r) => r.from }, { head: 'gives', number: true, cell: (r) => (r.carried === null ? 'nothing' : r.first.text(r.carried)) }], rows, { label: 'Accuracy at equal latency' })] : null);
  }
  fronts() {
    const first = this.app.run.objectives[0];
    return this.app.runs.filter((r) => r.objectives[0].metric === first.metric && r.objectives.length > 1 && r.json.front.length > 0);
  }
  options(c) {
    const runs = this.fronts(), colours = [c.accent, c.blue, c.green, c.orange, c.purple, c.sky];
    const axisOf = (r, metric) => r.metric(metric).label.replace(' · ', '\n') + (r.json.device ? ` on ${r.json.device}` : '');
    const names = [...new Set(runs.map((r) => axisOf(r, r.objectives[1].metric)))];
    // Beside each other where there is room, else one below the other.
    const beside = this.figure.host.clientWidth / names.length > 190, cell = beside ? 100 / names.length : 100, high = 320;
    this.figure.setHeight(beside ? 400 : 50 + high * names.length);
    return {
      grid: names.map((_, k) => ({ left: `${beside ? k * cell + 1 : 1}%`, width: `${cell - 3}%`, top: beside ? 44 : 50 + k * high, height: beside ? 276 : high - 100, containLabel: true })),
      legend: {},
      tooltip: { trigger: 'item', formatter: (p) => {
        const run = runs[p.seriesIndex];
        return tip(`${run.name}: ${run.id(p.value[2])}`, run.metrics.map((m) => [m.name, m.text(run.value(m, run.place.get(p.value[2])))]));
      } },
      xAxis: names.map((name, k) => ({ gridIndex: k, type: 'value', scale: true, name, nameLocation: 'middle', nameGap: 30, nameTextStyle: { lineHeight: 15 } })),
      yAxis: names.map((_, k) => ({ gridIndex: k, type: 'value', scale: true, name: k === 0 ? runs[0].metric(runs[0].objectives[0].metric).label : '', nameTextStyle: { align: 'left' } })),
      series: runs.map((run, r) => {
        const y = run.metric(run.objectives[0].metric), x = run.metric(run.objectives[1].metric), k = names.indexOf(axisOf(run, x.name));
        const data = run.json.front.map((n) => run.place.get(n)).map((i) => [x.shown(run.value(x, i)), y.shown(run.value(y, i)), run.candidates.number[i]]).sort((a, b) => a[0] - b[0]);
        return { type: 'line', name: run.name, z: 3, data, xAxisIndex: k, yAxisIndex: k, step: run.objectives[1].goal === 'min' ? 'end' : 'start', symbol: 'circle', symbolSize: 6, lineStyle: { color: colours[r % 6] }, itemStyle: { color: colours[r % 6] } };
      }).concat((this.app.data.crossed ?? []).filter((pair) => runs.includes(this.app.runs[pair.from]) && runs.includes(this.app.runs[pair.on])).map((pair) => {
        const on = this.app.runs[pair.on], from = this.app.runs[pair.from], y = on.metric(on.objectives[0].metric), k = names.indexOf(axisOf(on, pair.metric)), colour = colours[runs.indexOf(from) % 6];
        return { type: 'line', name: `${from.name} on ${on.name}`, silent: true, data: pair.points.map(([l, v]) => [l, y.shown(v)]), xAxisIndex: k, yAxisIndex: k, symbol: 'emptyCircle', symbolSize: 4, lineStyle: { color: colour, type: 'dashed', width: 1, opacity: 0.7 }, itemStyle: { color: colour, opacity: 0.7 } };
      })),
    };
  }
  shared() {
    const sessions = this.app.data.sessions;
    if (sessions.length < 2) return [];
    const base = new Map(sessions[0].kernels.map((k) => [k.signature, k.median]));
    return sessions.slice(1).map((s) => ({ session: s, points: s.kernels.filter((k) => base.has(k.signature)).map((k) => [base.get(k.signature), k.median, k.signature]) })).filter((g) => g.points.length);
  }
  kernelOptions(c) {
    const groups = this.shared(), base = this.app.data.sessions[0], colours = [c.blue, c.green, c.orange, c.purple];
    return {
      grid: { left: 10, right: 26, top: 40, bottom: 40, containLabel: true }, legend: {},
      tooltip: { trigger: 'item', formatter: (p) => tip(p.value[2], [[base.name, timed(p.value[0], base.unit)], [p.seriesName, timed(p.value[1], groups[p.seriesIndex].session.unit)]]) },
      xAxis: { type: 'log', name: `${base.name} [${base.unit}]`, nameLocation: 'middle', nameGap: 28, axisLabel: { formatter: (v) => number(v) } }, yAxis: { type: 'log', name: 'other sessions', nameTextStyle: { align: 'left' }, axisLabel: { formatter: (v) => number(v) } },
      series: groups.map((g, i) => ({ type: 'scatter', name: g.session.name, data: g.points, symbolSize: 5, itemStyle: { color: colours[i % 4], opacity: 0.6 } })),
    };
  }
}
