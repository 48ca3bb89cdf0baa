// The scatter of candidates (picture 2) and the search's progress (picture 3).
import { h, number } from './dom.js';
import { Figure, tip } from './figure.js';
import { extent, quantile } from './model.js';

const buckets = 6;  // shades of generations

function option(metric, i) {
  return h('option', { value: i }, metric.label);
}

function mixed(from, to, t) {
  const part = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  const of = (k) => Math.round(part(from, k) + t * (part(to, k) - part(from, k)));
  return `rgb(${of(0)},${of(1)},${of(2)})`;
}

export class Pareto {
  constructor(app) {
    this.app = app;
    this.xMenu = h('select', { onchange: () => this.figure.update() });
    this.yMenu = h('select', { onchange: () => this.figure.update() });
    this.colour = h('select', { onchange: () => this.figure.update() },
      h('option', { value: 'kind' }, 'front, dominated, infeasible'), h('option', { value: 'generation' }, 'generation'));
    this.figure = new Figure({
      id: 'front', height: 440, label: () => this.words(), options: (c) => this.options(c),
      empty: () => (app.run.size === 0 ? 'No candidate has been scored yet.' : null),
      ready: (chart) => chart.on('click', (e) => e.value && app.select(e.value[2])),
    });
    this.element = h('div', {},
      h('div', { class: 'tools' }, h('label', {}, 'across ', this.xMenu), h('label', {}, 'up ', this.yMenu),
        h('label', {}, 'colour ', this.colour)),
      this.figure.element,
      h('p', { class: 'note screen' }, 'Click a point, or a row of the table of candidates, for its architecture. Dashed lines are limits; grey candidates break a limit. A hollow marker is the measurement of the candidate that it is joined to.'));
  }
  /** A new run: which metrics there are. */
  setRun(run) {
    const menus = [this.xMenu, this.yMenu];
    menus.forEach((menu) => menu.replaceChildren(...run.metrics.map(option)));
    const at = (name) => Math.max(0, run.metrics.findIndex((m) => m.name === name));
    const [first, second] = run.objectives;
    this.yMenu.value = at(first.metric);
    this.xMenu.append(h('option', { value: -1 }, 'evaluation'));
    const other = second?.metric ?? run.constraints.find((c) => c.metric !== first.metric)?.metric;
    this.xMenu.value = other === undefined ? -1 : at(other);
  }
  get axes() {
    const run = this.app.run;
    return [Number(this.xMenu.value) < 0 ? null : run.metrics[this.xMenu.value], run.metrics[this.yMenu.value]];
  }
  words() {
    const run = this.app.run, [x, y] = this.axes;
    return `Scatter of ${run.size} candidates, ${y.label} against ${x ? x.label : 'evaluation'}; ` +
      `${run.json.front.length} on the front. The table of candidates holds the same numbers.`;
  }
  point(i) {
    const run = this.app.run, [x, y] = this.axes;
    const vx = x ? x.shown(run.value(x, i)) : run.candidates.number[i], vy = y.shown(run.value(y, i));
    return vx === null || vy === null ? null : [vx, vy, run.candidates.number[i]];
  }
  groups(c) {
    const run = this.app.run, out = { infeasible: [], partly: [], front: [], shades: Array.from({ length: buckets }, () => []) };
    const generations = this.colour.value === 'generation';
    const last = Math.max(1, ...[extent(run.candidates.generation)?.[1] ?? 1]);
    for (let i = 0; i < run.size; ++i) {
      const p = this.point(i);
      if (!p) continue;
      const kind = run.kind(i);
      if (kind === 'front') out.front.push(p);
      else if (kind === 'infeasible') out.infeasible.push(p);
      else if (kind === 'partly evaluated') out.partly.push(p);
      else {
        const shade = generations
          ? Math.min(buckets - 1, Math.floor((buckets * run.candidates.generation[i]) / (last + 1))) : 0;
        out.shades[shade].push(p);
      }
    }
    out.front.sort((a, b) => a[0] - b[0]);
    out.last = last;
    out.colourOf = (s) => (generations ? mixed(c.sky, c.purple, s / (buckets - 1)) : c.blue);
    out.nameOf = (s) => {
      if (!generations) return 'dominated';
      const from = Math.ceil((s * (last + 1)) / buckets), to = Math.ceil(((s + 1) * (last + 1)) / buckets) - 1;
      return from === to ? `generation ${from}` : `generation ${from}–${to}`;
    };
    return out;
  }
  tooltip(p) {
    const run = this.app.run, i = run.place.get(p.value?.[2]);
    if (i === undefined) return '';
    return tip(run.id(p.value[2]), [
      ...run.metrics.map((m) => {
        const known = run.measuredOf(m, i);
        return [`${m.name} (${m.source})`, m.text(run.value(m, i)) + (known ? `, measured ${m.text(known.value)}` : '')];
      }),
      ['', run.kind(i) + (run.candidates.violation[i] > 0 ? `, ${number(100 * run.candidates.violation[i])} % over` : '')],
      ['generation', `${run.candidates.generation[i]}, ${run.candidates.origin[i]}`],
    ]);
  }
  limits(metric, axis, c) {
    const limit = metric && this.app.run.limit(metric);
    if (!limit) return [];
    return ['min', 'max'].filter((k) => limit[k] !== null).map((k) => ({
      [axis]: metric.shown(limit[k]),
      label: { formatter: `${k === 'max' ? '≤' : '≥'} ${metric.text(limit[k])}`, color: c.ink, position: axis === 'xAxis' ? 'end' : 'insideStartTop' },
    }));
  }
  /** Pairs of a predicted and a measured number of one candidate: metrics NAME and NAME_measured, or a file. */
  measured() {
    const run = this.app.run, [x, y] = this.axes;
    const pairs = [];
    for (let i = 0; i < run.size; ++i) {
      const mx = x && run.measuredOf(x, i), my = run.measuredOf(y, i);
      const p = mx || my ? this.point(i) : null;
      if (p) pairs.push([p, [mx ? x.shown(mx.value) : p[0], my ? y.shown(my.value) : p[1], p[2]]]);
    }
    return pairs;
  }
  options(c) {
    const run = this.app.run, [x, y] = this.axes, groups = this.groups(c);
    const [first, second] = run.objectives;
    // The step line belongs to two objectives; with more the front is no line in this plane.
    const plane = run.objectives.length === 2 && x?.name === second.metric && y.name === first.metric;
    const step = plane ? (second.goal === 'min' ? 'end' : 'start') : false;
    const dot = { type: 'scatter', large: run.size > 4000, largeThreshold: 2000 };
    const series = [
      { ...dot, name: 'infeasible', data: groups.infeasible,
        ...(run.size > 4000 ? { symbol: 'rect', symbolSize: 2.5, itemStyle: { color: c.grey, opacity: 0.6 } }
          : { symbol: 'path://M0,0 L4,4 M4,0 L0,4', symbolSize: 6, itemStyle: { color: c.grey, borderColor: c.grey, borderWidth: 1.5, opacity: 0.75 } }) },
      { ...dot, name: 'partly evaluated', data: groups.partly, symbol: 'triangle', symbolSize: 6, itemStyle: { color: c.grey, opacity: 0.6 } },
      ...groups.shades.map((data, s) => ({ ...dot, name: groups.nameOf(s), data, symbolSize: run.size > 2000 ? 4 : 7,
        itemStyle: { color: groups.colourOf(s), opacity: 0.55 } })),
      { type: 'line', name: 'front', data: groups.front, step, z: 5, symbol: 'circle', symbolSize: 8, showSymbol: true,
        showAllSymbol: true, lineStyle: { color: c.accent, width: plane ? 2 : 0 }, itemStyle: { color: c.accent },
        markLine: { silent: true, symbol: 'none', lineStyle: { color: c.accent, type: 'dashed', width: 1.5 },
          data: [...this.limits(x, 'xAxis', c), ...this.limits(y, 'yAxis', c)] } },
      { type: 'scatter', name: 'selected', z: 9, silent: true, symbol: 'circle', symbolSize: 18,
        itemStyle: { color: 'transparent', borderColor: c.ink, borderWidth: 2 },
        data: this.app.compared.map((n) => run.place.get(n)).filter((i) => i !== undefined).map((i) => this.point(i)).filter(Boolean) },
    ];
    const measured = this.measured();
    if (measured.length > 0) {
      series.push({ type: 'scatter', name: 'measured', z: 7, symbolSize: 9, data: measured.map((m) => m[1]),
        itemStyle: { color: c.card, borderColor: c.accent, borderWidth: 1.5 } });
      series.push({ type: 'custom', name: 'measured', silent: true, z: 6, data: measured.map(([p, q]) => [...p.slice(0, 2), ...q.slice(0, 2)]),
        renderItem: (_, api) => {
          const [a, b] = [api.coord([api.value(0), api.value(1)]), api.coord([api.value(2), api.value(3)])];
          return { type: 'line', shape: { x1: a[0], y1: a[1], x2: b[0], y2: b[1] }, style: { stroke: c.accent, lineWidth: 1 } };
        } });
    }
    return {
      grid: { left: 14, right: 22, top: 44, bottom: 40, containLabel: true },
      legend: { data: series.map((s) => s.name).filter((n, i, all) => n !== 'selected' && all.indexOf(n) === i && series.find((s) => s.name === n).data.length > 0) },
      tooltip: { trigger: 'item', formatter: (p) => this.tooltip(p) },
      xAxis: { type: 'value', scale: true, name: x ? x.label : 'evaluation', nameLocation: 'middle', nameGap: 28 },
      yAxis: { type: 'value', scale: true, name: y.label, nameLocation: 'end', nameTextStyle: { align: 'left' } },
      series: series.filter((s) => s.data.length > 0 || s.name === 'front' || s.name === 'selected'),
    };
  }
}

/** A curve's value after so many evaluations: the last point not beyond. */
function after(curve, n) {
  let value = null;
  for (let i = 0; i < curve.evaluations.length && curve.evaluations[i] <= n; ++i) value = curve.hypervolume[i];
  return value ?? (curve.hypervolume.length > 0 ? 0 : null);
}

export class SearchProgress {
  constructor(app) {
    this.app = app;
    this.figure = new Figure({
      id: 'progress', height: 300, label: () => `Hypervolume against evaluations of ${app.run.name}`,
      options: (c) => this.options(c),
      empty: () => (app.run.json.progress.evaluations.length === 0 ? 'No evaluation yet.'
        : app.run.json.front.length === 0 ? 'No candidate is within the limits, so there is no hypervolume yet.' : null),
    });
    this.note = h('p', { class: 'note' });
    this.element = h('div', {}, this.figure.element, this.note);
  }
  update() {
    const base = this.app.run.json.baseline;
    this.note.textContent = base
      ? `Grey: ${base.seeds.length} random search${base.seeds.length > 1 ? 'es' : ''} of the same question (seed${base.seeds.length > 1 ? 's' : ''} ${base.seeds.join(', ')})` +
        (base.seeds.length > 2 ? '; line: median, band: quartiles.' : '.')
      : 'No random search of the same question lies beside this run. `--set strategy.name=random` makes one; five seeds give a band.';
    this.figure.update();
  }
  options(c) {
    const { progress, baseline } = this.app.run.json;
    const series = [];
    if (baseline) {
      const steps = [...new Set(baseline.curves.flatMap((k) => k.evaluations))].sort((a, b) => a - b);
      const at = steps.map((n) => baseline.curves.filter((k) => k.evaluations.at(-1) >= n).map((k) => after(k, n)).sort((a, b) => a - b));
      const line = (p) => steps.map((n, i) => [n, quantile(at[i], p)]);
      if (baseline.curves.length > 2) {
        const low = line(0.25), high = line(0.75);
        const plain = { type: 'line', stack: 'band', symbol: 'none', silent: true, lineStyle: { opacity: 0 }, stackStrategy: 'all' };
        series.push({ ...plain, name: 'low', data: low });
        series.push({ ...plain, name: 'random, quartiles', data: high.map(([n, v], i) => [n, v - low[i][1]]),
          areaStyle: { color: c.grey, opacity: 0.3 }, itemStyle: { color: c.grey } });
      }
      series.push({ type: 'line', name: 'random, median', symbol: 'none', data: line(0.5), lineStyle: { color: c.grey, type: 'dashed' }, itemStyle: { color: c.grey } });
    }
    series.push({ type: 'line', name: this.app.run.json.strategy, symbol: 'none', step: 'end',
      data: progress.evaluations.map((n, i) => [n, progress.hypervolume[i]]),
      lineStyle: { color: c.accent, width: 2.5 }, itemStyle: { color: c.accent } });
    return {
      grid: { left: 14, right: 22, top: 40, bottom: 40, containLabel: true },
      legend: { data: series.map((s) => s.name).filter((n) => n !== 'low') },
      tooltip: { trigger: 'axis', formatter: (all) => tip(`after ${number(all[0].value[0])} evaluations`,
        all.filter((p) => p.seriesName !== 'low' && p.seriesName !== 'random, quartiles').map((p) => [p.seriesName, number(p.value[1])])) },
      xAxis: { type: 'value', name: 'evaluations', nameLocation: 'middle', nameGap: 28 },
      yAxis: { type: 'value', scale: true, name: 'hypervolume', nameTextStyle: { align: 'left' } },
      series,
    };
  }
}
