// Genes on the front, tasks over time, training curves (pictures 10 to 12).
import { bytes, duration, h, number, percent, replace, table } from './dom.js';
import { Figure, tip } from './figure.js';

export class Genes {
  constructor(app) {
    this.app = app;
    this.figure = new Figure({
      id: 'genes', height: 320, options: (c) => this.options(c), label: () => `Share of each choice of each gene among the ${app.run.json.front.length} networks on the front`,
      empty: () => (app.run.json.front.length === 0 ? 'No network is on the front.' : null),
    });
    this.element = h('div', {}, this.figure.element);
  }
  update() {
    this.made = null;
    this.figure.update();
  }
  cells() {
    if (this.made) return this.made;
    const { run } = this.app, front = run.json.front.map((n) => run.place.get(n)), labels = [], cells = [], all = [...Array(run.size).keys()].filter((i) => !run.failed(i));
    // The choices of all genes share one axis: numbers ascending, then words.
    const columns = run.columns.filter((c) => new Set(c.labels).size > 1).slice(0, 80);
    for (const column of columns) for (const label of column.labels) if (label !== undefined && label !== '-' && !labels.includes(label)) labels.push(label);
    labels.sort((a, b) => (Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? a.localeCompare(b) : a - b));
    const kept = labels.slice(0, 40);
    columns.forEach((column, x) => kept.forEach((label, y) => {
      const share = (rows) => {
        const active = rows.filter((i) => column.labels[i] !== '-' && column.labels[i] !== undefined);
        return active.length ? active.filter((i) => column.labels[i] === label).length / active.length : 0;
      };
      if (column.labels.includes(label)) cells.push([x, y, share(front), share(all)]);
    }));
    return (this.made = { columns, labels: kept, cells });
  }
  options(c) {
    const { columns, labels, cells } = this.cells();
    this.figure.setHeight(Math.max(220, 130 + 24 * labels.length));
    return {
      grid: { left: 10, right: 20, top: 20, bottom: 56, containLabel: true },
      tooltip: { trigger: 'item', formatter: (p) => tip(`${columns[p.value[0]].name} = ${labels[p.value[1]]}`, [['on the front', percent(p.value[2])], ['of all candidates', percent(p.value[3])]]) },
      xAxis: { type: 'category', data: columns.map((k) => k.name), axisLabel: { rotate: columns.length > 14 ? 60 : 0, interval: columns.length > 40 ? 'auto' : 0, fontSize: 11 }, splitArea: { show: false } },
      yAxis: { type: 'category', data: labels, axisLabel: { fontSize: 11 } },
      visualMap: { min: 0, max: 1, dimension: 2, calculable: false, orient: 'horizontal', left: 'center', bottom: 0, itemHeight: 120, itemWidth: 10, text: ['always', 'never'], textStyle: { color: c.ink }, inRange: { color: [c.bg, c.sky, c.blue] } },
      series: [{ type: 'heatmap', data: cells, label: { show: columns.length <= 14, formatter: (p) => (p.value[2] > 0 ? Math.round(100 * p.value[2]) : ''), fontSize: 10, color: c.ink, textBorderColor: c.card, textBorderWidth: 2 }, itemStyle: { borderColor: c.card, borderWidth: 1 } }],
    };
  }
}

const outcomeColour = (c, outcome) => ({ done: c.green, '': c.blue, infeasible: c.grey, checkpointed: c.sky, paused: c.sky, cancelled: c.grey }[outcome] ?? c.accent);

export class Timeline {
  constructor(app) {
    this.app = app;
    this.figure = new Figure({
      id: 'timeline', height: 260, options: (c) => this.options(c), label: () => `Attempts of ${app.data.queue.tasks.length} tasks by worker over time`,
      empty: () => (this.bars().length ? null : 'No task has been run by a worker; `hwnas submit` and `hwnas worker` make some.'),
    });
    this.note = h('p', { class: 'note' });
    this.stages = h('div', {});
    this.element = h('div', {}, this.stages, this.note, this.figure.element);
  }
  /** What `hwnas run` has on record. */
  showStages() {
    const { stages } = this.app.data;
    replace(this.stages, stages?.length ? table([
      { head: 'stage of the project', cell: (s) => s.stage }, { head: 'took', number: true, cell: (s) => (s.seconds === null ? '–' : duration(1000 * s.seconds)) },
      { head: 'peak memory, measured', number: true, cell: (s) => (s.peak_kilobytes === null ? '–' : bytes(1024 * s.peak_kilobytes)) }], stages, { label: 'Stages of the project' }) : null);
  }
  bars() {
    const queue = this.app.data.queue;
    if (!queue) return [];
    return queue.tasks.flatMap((t) => t.attempts.map((a) => ({ ...a, task: t, ended: a.ended ?? queue.now, running: a.ended === null })));
  }
  update() {
    this.showStages();
    const tasks = this.app.data.queue?.tasks ?? [], bars = this.bars();
    const workers = new Set(bars.map((b) => b.worker));
    this.figure.setHeight(Math.max(180, 90 + 26 * workers.size));
    const waited = tasks.reduce((a, t) => a + t.wait_ms, 0), ran = tasks.reduce((a, t) => a + t.run_ms, 0);
    this.note.textContent = tasks.length ? `${tasks.length} tasks: ${duration(waited)} in the queue, ${duration(ran)} running; ` +
      `${bars.filter((b) => b.outcome && !['done', 'infeasible', 'checkpointed', 'paused', 'cancelled'].includes(b.outcome)).length} attempts failed (red), repeats are hatched.` : '';
    this.figure.update();
  }
  options(c) {
    const bars = this.bars(), workers = [...new Set(bars.map((b) => b.worker))], start = Math.min(...bars.map((b) => b.started));
    return {
      grid: { left: 10, right: 24, top: 14, bottom: 40, containLabel: true },
      tooltip: { trigger: 'item', formatter: (p) => {
        const b = bars[p.dataIndex];
        return tip(`${b.task.run} task ${b.task.number}`, [['kind', b.task.kind], ['attempt', b.attempt], ['outcome', b.running ? 'running' : b.outcome], ['ran', duration(b.ended - b.started)], ['waited', duration(b.task.wait_ms)], b.error ? ['why', b.error] : null]);
      } },
      xAxis: { type: 'value', min: 0, name: 'since the first start', nameLocation: 'middle', nameGap: 26, axisLabel: { formatter: duration } },
      yAxis: { type: 'category', data: workers, inverse: true },
      series: [{ type: 'custom', encode: { x: [1, 2], y: 0 }, data: bars.map((b) => [workers.indexOf(b.worker), b.started - start, b.ended - start]),
        renderItem: (params, api) => {
          const b = bars[params.dataIndex], from = api.coord([api.value(1), api.value(0)]), to = api.coord([api.value(2), api.value(0)]), high = api.size([0, 1])[1] * 0.6;
          return { type: 'rect', shape: { x: from[0], y: from[1] - high / 2, width: Math.max(2, to[0] - from[0]), height: high },
            style: { fill: outcomeColour(c, b.outcome), stroke: c.card, ...(b.attempt > 1 ? { decal: { symbol: 'rect', color: 'rgba(0,0,0,.35)', dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: -0.8 } } : {}) } };
        } }],
    };
  }
}

export class Training {
  constructor(app) {
    this.app = app;
    this.menu = h('select', { onchange: () => this.update() });
    this.tools = h('div', { class: 'tools' }, h('label', {}, 'run ', this.menu));
    this.note = h('p', { class: 'note' });
    const figure = (key, name) => new Figure({ id: `training-${key}`, height: 300, options: (c) => this.options(c, key, name), label: () => `${name} of the training ${this.training.name} by epoch and sub-network`,
      empty: () => (!this.training ? (key === 'loss' ? 'No training run is part of this report.' : '') : Object.keys(this.training[key]).length === 0 ? (key === 'loss' ? 'The training has recorded no step yet.' : '') : null) });
    this.loss = figure('loss', 'loss');
    this.accuracy = figure('accuracy', 'accuracy');
    this.scores = h('div', {});
    this.element = h('div', {}, this.tools, this.note, h('div', { class: 'two' }, this.loss.element, this.accuracy.element), this.scores);
  }
  get training() { return this.app.data.trainings[Number(this.menu.value || 0)]; }
  update() {
    const all = this.app.data.trainings, before = Number(this.menu.value || 0);
    replace(this.menu, all.map((t, i) => h('option', { value: i }, t.name)));
    if (all.length) this.menu.value = Math.min(before, all.length - 1);
    this.tools.hidden = all.length < 2;
    const t = this.training;
    this.note.textContent = t ? `${t.config.space ?? ''} on ${t.config.data ?? ''}, recipe ${t.config.recipe ?? ''}, seed ${t.config.seed ?? ''}` + (t.images_per_second ? `, ${number(t.images_per_second)} images/s (median)` : '') + '. Training batches; "others" are the sub-networks drawn in between.' : '';
    replace(this.scores, t?.scores.length ? table([
      { head: 'after training', cell: (s) => s.network }, { head: 'top-1', number: true, cell: (s) => percent(s.top1) }, { head: '95 % interval', number: true, cell: (s) => (s.top1_low === undefined ? '–' : `${percent(s.top1_low)} – ${percent(s.top1_high)}`) },
      { head: 'loss', number: true, cell: (s) => number(s.loss) }, { head: 'images', number: true, cell: (s) => s.images }], t.scores, { label: 'Validation scores' }) : null);
    this.loss.update();
    this.accuracy.update();
  }
  options(c, key, name) {
    const t = this.training, colours = { smallest: c.orange, largest: c.blue, others: c.grey, network: c.blue };
    return {
      grid: { left: 10, right: 20, top: 44, bottom: 40, containLabel: true }, legend: {},
      tooltip: { trigger: 'axis', formatter: (all) => tip(`epoch ${number(all[0].value[0])}`, all.map((p) => [p.seriesName, key === 'accuracy' ? percent(p.value[1] / 100) : number(p.value[1])])) },
      xAxis: { type: 'value', name: 'epoch', nameLocation: 'middle', nameGap: 26 }, yAxis: { type: 'value', scale: true, name: key === 'accuracy' ? `${name} [%]` : name, nameTextStyle: { align: 'left' } },
      series: Object.entries(t[key]).map(([who, curve], i) => ({ type: 'line', name: who, symbol: 'none', data: curve.x.map((x, k) => [x, key === 'accuracy' ? 100 * curve.y[k] : curve.y[k]]), lineStyle: { color: colours[who], width: who === 'others' ? 1 : 1.8 }, itemStyle: { color: colours[who] }, z: who === 'others' ? 1 : 2,
        markLine: i === 0 && t.phases.length > 1 ? { silent: true, symbol: 'none', lineStyle: { color: c.muted, type: 'dotted' }, label: { formatter: (p) => p.name, color: c.muted, position: 'insideEndTop' }, data: t.phases.map((p) => ({ name: p.name, xAxis: p.start })) } : undefined })),
    };
  }
}
