// How good the measurements are: repeats, intervals, drift, clock and temperature over time (picture 9).
import { h, number, replace, table, timed } from './dom.js';
import { Figure, tip } from './figure.js';
import { quantile } from './model.js';

export class Quality {
  constructor(app) {
    this.app = app;
    this.sessionMenu = h('select', { onchange: () => this.update() });
    this.kernelMenu = h('select', { class: 'wide', onchange: () => this.repeats.update() });
    const empty = () => (this.session ? null : 'No session of `hwnas profile` is part of this report.');
    const quiet = () => (!this.session ? '' : this.session.kernels.some((k) => k.visits.length) ? null : 'Counted once: there are no repeats to show.');
    const spread = () => empty() ?? (this.session.kernels.length && this.session.kernels.every((k) => k.low === k.high) ? 'All intervals are points: the device was counted, not timed.' : null);
    this.spread = new Figure({ id: 'spread', height: 280, empty: spread, options: (c) => this.spreadOptions(c), label: 'Width of the intervals of all kernels, as a share of the median, and the drift divided out, in measuring order' });
    this.repeats = new Figure({ id: 'repeats', height: 280, empty: quiet, options: (c) => this.repeatOptions(c), label: 'Medians of the visits of one kernel, in order' });
    this.note = h('p', { class: 'note' });
    this.tools = h('div', { class: 'tools' }, h('label', {}, 'session ', this.sessionMenu), h('label', {}, 'kernel ', this.kernelMenu));
    const since = () => (!this.session ? '' : this.states.time.length > 1 ? null
      : this.session.unit === 'ns' ? 'This session holds no states of its device over time; an earlier version of hwnas wrote it.' : 'Counted, not timed: instructions do not drift, and clock and temperature do not matter.');
    this.drift = new Figure({ id: 'drift', height: 280, empty: since, options: (c) => this.driftOptions(c), label: 'Speed of the reference kernel over the time of the session, and load of the device' });
    this.climate = new Figure({ id: 'climate', height: 280, empty: () => since() ?? (this.told('clock_mhz') || this.told('celsius') ? null : 'Clock and temperature are not readable on this device.'),
      options: (c) => this.climateOptions(c), label: () => `${[this.told('clock_mhz') && 'Clock', this.told('celsius') && 'temperature'].filter(Boolean).join(' and ')} of the device over the time of the session` });
    this.context = h('details', {});
    this.element = h('div', {}, this.tools, this.note, h('div', { class: 'two' }, this.spread.element, this.repeats.element), h('div', { class: 'two' }, this.drift.element, this.climate.element), this.context);
  }
  get states() { return this.session.states; }
  told(what) { return this.states[what].some((v) => v !== null); }
  get session() { return this.app.data.sessions[Number(this.sessionMenu.value || 0)]; }
  update() {
    // At first a session that was timed: those have something to show.
    const { sessions } = this.app.data, before = this.sessionMenu.value === '' ? Math.max(0, sessions.findIndex((s) => s.unit === 'ns')) : Number(this.sessionMenu.value);
    replace(this.sessionMenu, sessions.map((s, i) => h('option', { value: i }, s.name)));
    if (sessions.length) this.sessionMenu.value = Math.min(before, sessions.length - 1);
    const s = this.session;
    this.tools.hidden = this.context.hidden = !s;
    this.note.textContent = '';
    if (s) {
      replace(this.kernelMenu, s.kernels.map((k, i) => h('option', { value: i }, k.signature)));
      const exact = s.kernels.length > 0 && s.kernels.every((k) => k.low === k.high);
      this.note.textContent = `${s.device}, ${s.precision}, ${s.unit}, ${s.started}: ${s.kernels.length} kernels measured, ${s.unsteady} not steady, ${s.kernels.filter((k) => k.redone).length} measured again, ${s.failures.length} failed` +
        (s.left_out ? `, ${s.left_out} more not shown` : '') + (exact ? '. Counted exactly: no spread.' : '.');
      replace(this.context, h('summary', {}, 'Where and how it was measured'), this.beforeAfter(s), table([{ head: 'what', cell: (r) => r[0] }, { head: 'was', code: true, cell: (r) => r[1] }], Object.entries(s.context).filter(([k]) => !/^(before|after)\./.test(k)), { label: 'Context of the session' }),
        s.failures.length ? table([{ head: 'kernel', code: true, cell: (r) => r.signature }, { head: 'why there is no number', cell: (r) => r.failure }], s.failures.slice(0, 50), { label: 'Failures' }) : null);
    }
    this.spread.update();
    this.repeats.update();
    this.drift.update();
    this.climate.update();
  }
  /** Clock, temperatures and load as the device told them before and after. */
  beforeAfter(s) {
    const names = [...new Set(Object.keys(s.context).map((k) => /^(?:before|after)\.(.*)/.exec(k)?.[1]).filter(Boolean))];
    return names.length ? table([{ head: 'state of the device', cell: (n) => n }, { head: 'before', code: true, cell: (n) => s.context[`before.${n}`] ?? '–' }, { head: 'after', code: true, cell: (n) => s.context[`after.${n}`] ?? '–' }], names, { label: 'State of the device' }) : null;
  }
  spreadOptions(c) {
    const s = this.session, half = (k) => (50 * (k.high - k.low)) / k.median;
    return {
      grid: { left: 10, right: 20, top: 44, bottom: 40, containLabel: true }, legend: {},
      tooltip: { trigger: 'item', formatter: (p) => {
        const k = s.kernels[p.value[0]];
        return tip(k.signature, [['median', timed(k.median, s.unit)], ['interval', `${timed(k.low, s.unit)} – ${timed(k.high, s.unit)}`], ['samples', `${k.n}, ${k.outliers} outliers`], ['drift', number(k.drift)], ['steady', k.steady ? 'yes' : 'no']]);
      } },
      xAxis: { type: 'value', name: 'kernel, in order', nameLocation: 'middle', nameGap: 28, max: Math.max(1, s.kernels.length - 1) }, yAxis: { type: 'value', name: '[%]', nameTextStyle: { align: 'left' }, scale: true },
      series: [{ type: 'scatter', name: '± of the median', symbolSize: 5, data: s.kernels.map((k, i) => [i, half(k)]).filter((_, i) => s.kernels[i].steady), itemStyle: { color: c.blue } },
        { type: 'scatter', name: 'not steady', symbolSize: 7, symbol: 'diamond', data: s.kernels.map((k, i) => [i, half(k)]).filter((_, i) => !s.kernels[i].steady), itemStyle: { color: c.accent } },
        { type: 'line', name: 'drift', symbol: 'none', data: s.kernels.map((k, i) => [i, 100 * (k.drift - 1)]), lineStyle: { color: c.orange, width: 1.5 }, itemStyle: { color: c.orange } }],
    };
  }
  /** Minutes or seconds of measuring at each state, and where the session was interrupted: pauses are cut out. */
  clock() {
    const { time } = this.states, steps = time.slice(1).map((t, i) => Math.max(0, t - time[i]));
    const pause = Math.max(30, 20 * (quantile([...steps].sort((a, b) => a - b), 0.5) ?? 0)), at = [0], cuts = [];
    for (const step of steps) {
      if (step > pause) cuts.push(at.at(-1));
      at.push(at.at(-1) + (step > pause ? 0 : step));
    }
    const scale = at.at(-1) > 180 ? 60 : 1;
    return { at: at.map((s) => s / scale), cuts: cuts.map((s) => s / scale), unit: scale === 60 ? 'min' : 's' };
  }
  /** What the two pictures over time share. `right`: there is a second axis. */
  overTime(c, clock, left, right, series) {
    const line = (s) => ({ type: 'line', symbol: 'none', lineStyle: { color: s.colour, width: 1.5, type: s.dash ?? 'solid' }, itemStyle: { color: s.colour }, ...s, colour: undefined });
    const drawn = series.map(line);
    if (drawn.length && clock.cuts.length) drawn[0].markLine = { silent: true, symbol: 'none', data: clock.cuts.map((x) => ({ xAxis: x })), label: { formatter: 'continued', color: c.muted, position: 'insideEndTop' }, lineStyle: { color: c.muted, type: 'dotted' } };
    return {
      grid: { left: 10, right: right ? 10 : 20, top: 44, bottom: 40, containLabel: true }, legend: {},
      tooltip: { trigger: 'axis', formatter: (all) => tip(`after ${number(all[0].value[0])} ${clock.unit}`, all.map((p) => [p.seriesName, p.value[1] === null ? '–' : number(p.value[1])])) },
      xAxis: { type: 'value', name: `time of measuring [${clock.unit}]`, nameLocation: 'middle', nameGap: 28, max: clock.at.at(-1) || 1, axisLabel: { formatter: (v) => number(v), showMaxLabel: false } },
      yAxis: [{ type: 'value', nameTextStyle: { align: 'left' }, scale: true, ...left }, ...(right ? [{ type: 'value', nameTextStyle: { align: 'right' }, splitLine: { show: false }, scale: true, ...right }] : [])],
      series: drawn,
    };
  }
  driftOptions(c) {
    const clock = this.clock(), s = this.states, colours = [c.accent, c.blue, c.green, c.purple], names = Object.keys(s.references), load = this.told('load');
    const series = names.map((name, i) => {
      const usual = quantile(s.references[name].filter((v) => v !== null).sort((a, b) => a - b), 0.1);
      return { name: names.length > 1 ? `reference ${i + 1}` : 'reference kernel', colour: colours[i % 4], connectNulls: true, data: clock.at.map((t, k) => [t, s.references[name][k] === null ? null : 100 * (s.references[name][k] / usual - 1)]) };
    });
    if (load) series.push({ name: 'load', colour: c.grey, dash: 'dashed', yAxisIndex: 1, data: clock.at.map((t, k) => [t, s.load[k]]) });
    return this.overTime(c, clock, { name: 'slower by [%]' }, load && { name: 'load', min: 0, minInterval: 1 }, series);
  }
  climateOptions(c) {
    const clock = this.clock(), s = this.states, both = this.told('clock_mhz') && this.told('celsius'), series = [];
    if (this.told('clock_mhz')) series.push({ name: 'clock', colour: c.blue, step: 'end', data: clock.at.map((t, k) => [t, s.clock_mhz[k]]) });
    if (this.told('celsius')) series.push({ name: 'temperature', colour: c.orange, yAxisIndex: both ? 1 : 0, data: clock.at.map((t, k) => [t, s.celsius[k]]) });
    const mhz = { name: 'clock [MHz]' }, degrees = { name: 'temperature [°C]' };
    return this.overTime(c, clock, this.told('clock_mhz') ? mhz : degrees, both && degrees, series);
  }
  repeatOptions(c) {
    const s = this.session, k = s.kernels[Number(this.kernelMenu.value || 0)], visits = k?.visits ?? [];
    const sorted = [...visits].sort((a, b) => a - b), bins = Math.max(1, Math.min(20, Math.ceil(Math.sqrt(visits.length))));
    const low = sorted[0] ?? 0, step = ((sorted.at(-1) ?? 1) - low) / bins || 1, counts = Array(bins).fill(0);
    for (const v of visits) counts[Math.min(bins - 1, Math.floor((v - low) / step))]++;
    return {
      grid: { left: 10, right: 20, top: 44, bottom: 40, containLabel: true },
      tooltip: { trigger: 'axis', formatter: (all) => tip(k.signature, [['from', timed(low + all[0].dataIndex * step, s.unit)], ['visits', all[0].value]]) },
      xAxis: { type: 'category', data: counts.map((_, i) => timed(low + (i + 0.5) * step, s.unit)), name: `medians of ${visits.length} visits`, nameLocation: 'middle', nameGap: 28 },
      yAxis: { type: 'value', name: 'visits', nameTextStyle: { align: 'left' }, minInterval: 1 },
      series: [{ type: 'bar', data: counts, barCategoryGap: '4%', itemStyle: { color: c.blue } }],
    };
  }
}
