// Headline, run comparison, provenance (pictures 1, 14, 15).
import { bytes, copyable, duration, h, number, percent, replace, short, table } from './dom.js';
import { quoted } from './panel.js';

/** "12.5 KiB": the unit smaller than the number, and never on a line of its own. */
function card(value, what, source) {
  const [, amount, unit] = /^([^ ]*\d[^ ]*) (.+)$/.exec(value) ?? [null, value, null];
  return h('div', { class: 'stat' }, h('b', {}, amount, unit ? h('small', {}, `\u00a0${unit.replaceAll(' ', '\u00a0')}`) : null), h('span', {}, what), source ? h('em', {}, source) : null);
}

export class Headline {
  constructor(app) {
    this.app = app;
    this.element = h('div', { class: 'stats' });
  }
  update() {
    const { app } = this, { run } = app;
    if (!run) return;
    const { counts, best, front, state } = run.json;
    const cards = [card(`${number(counts.feasible)} / ${number(counts.candidates)}`, 'candidates within the limits', counts.failed ? `${counts.failed} failed` : null),
      card(number(front.length), 'on the front', state)];
    if (best !== null) {
      const i = run.place.get(best);
      run.ordered.slice(0, 6).forEach((m, k) => {
        const known = run.measuredOf(m, i), limit = run.limit(m)?.max ?? null;
        cards.push(card(m.text(run.value(m, i)), `${k === 0 ? 'best' : 'its'} ${m.name}`, [m.source, known ? `measured ${m.text(known.value)}` : '', limit === null ? '' : `limit ${m.text(limit)}`].filter(Boolean).join(' · ')));
      });
    } else cards.push(card('none', counts.candidates ? 'no candidate meets the limits' : 'nothing scored yet'));
    const known = run.metrics.filter((m) => m.source === 'predicted').length;
    cards.push(card(percent(known / run.metrics.length), 'of the metrics are predicted', `${run.metrics.filter((m) => m.source === 'measured').length} measured, ${run.metrics.filter((m) => m.source === 'modelled').length} modelled`));
    const energy = best === null ? null : run.details(best)?.energy;
    if (energy && !run.metrics.some((m) => /energy|joule|_[um]j$/i.test(m.name))) cards.push(card(`${number(1e6 * energy.joules.reduce((a, b) => a + b, 0))} µJ`, 'its energy', `modelled · ${energy.table}`));
    const tasks = app.data.queue?.tasks ?? [], stages = (app.data.stages ?? []).filter((s) => s.seconds !== null);
    if (tasks.length) cards.push(card(duration(tasks.reduce((a, t) => a + t.run_ms, 0)), 'of tasks run', `${duration(tasks.reduce((a, t) => a + t.wait_ms, 0))} queued`));
    else if (stages.length) cards.push(card(duration(1000 * stages.reduce((a, s) => a + s.seconds, 0)), 'for the stages on record', `longest: ${stages.reduce((a, s) => (s.seconds > a.seconds ? s : a)).stage}`));
    replace(this.element, cards);
  }
}

/** Keys whose values differ between configurations, as dotted paths. */
function differences(configs) {
  const flat = configs.map((config) => {
    const out = new Map(), walk = (v, path) => {
      if (v !== null && typeof v === 'object') for (const [k, inner] of Object.entries(v)) walk(inner, path ? `${path}.${k}` : k);
      else out.set(path, v);
    };
    walk(config ?? {}, '');
    return out;
  });
  const keys = [...new Set(flat.flatMap((f) => [...f.keys()]))].sort();
  return keys.filter((k) => new Set(flat.map((f) => JSON.stringify(f.get(k)))).size > 1).map((key) => ({ key, values: flat.map((f) => f.get(key)) }));
}

export class Comparison {
  constructor(app) {
    this.app = app;
    this.element = h('div', {});
  }
  update() {
    const { data, runs } = this.app;
    if (data.comparison.length < 2) return replace(this.element, h('p', { class: 'empty' }, 'One search is shown; name several to compare their fronts.'));
    const diff = differences(runs.map((r) => r.json.config));
    const best = (r) => Math.max(...data.comparison.filter((o) => o.objectives === r.objectives).map((o) => o.hypervolume ?? 0));
    const dash = (v, text) => (v === null ? '–' : text(v));
    replace(this.element, table([
      { head: 'run', cell: (r) => r.name }, { head: 'objectives', cell: (r) => r.objectives }, { head: 'strategy', cell: (r) => r.strategy }, { head: 'seed', number: true, cell: (r) => dash(r.seed, String) }, { head: 'candidates', number: true, cell: (r) => short(r.candidates) },
      { head: 'on the front', number: true, cell: (r) => dash(r.front, String) }, { head: 'hypervolume', number: true, cell: (r) => number(r.hypervolume) },
      { head: 'of the best', number: true, cell: (r) => (r.hypervolume === null || !best(r) ? '–' : percent(r.hypervolume / best(r))) }, { head: "on the first's front too", number: true, cell: (r) => dash(r.shared, String) }], data.comparison, { label: 'Runs' }),
    h('p', { class: 'note' }, 'Hypervolumes of searches with the same objectives share one reference: the worst of their fronts, 10 % beyond; only those can be compared.'),
    diff.length ? h('details', {}, h('summary', {}, `Configuration: ${diff.length} differences`), table([{ head: 'key', code: true, cell: (d) => d.key }, ...runs.map((r, i) => ({ head: r.name, code: true, cell: (d) => (d.values[i] === undefined ? '–' : JSON.stringify(d.values[i])) }))], diff, { label: 'Differences of configuration' })) : null);
  }
}

export class Exports {
  constructor(app) {
    this.app = app;
    this.element = h('div', {});
  }
  update() {
    const { exports } = this.app.data;
    if (!exports.length) return replace(this.element, h('p', { class: 'empty' }, 'No exported network is part of this report.'));
    replace(this.element, exports.map((e) => {
      const metrics = Object.entries(e.manifest.metrics ?? {});
      const parity = Array.isArray(e.parity) ? e.parity : e.parity?.pairs ?? [];
      return h('div', { class: 'export' }, h('h3', {}, e.name), h('p', { class: 'arch' }, e.manifest.architecture?.genotype ?? ''),
        table([{ head: 'metric', cell: (m) => m[0] }, { head: 'value', number: true, cell: ([, m]) => (m.unit === 'share' ? percent(m.value) : m.unit === 'bytes' ? bytes(m.value) : `${short(m.value)} ${m.unit ?? ''}`) }, { head: 'source', cell: (m) => m[1].source ?? '' }], metrics, { label: `Metrics of ${e.name}` }),
        parity.length ? table(Object.keys(parity[0]).map((k) => ({ head: k, cell: (r) => (typeof r[k] === 'number' ? number(r[k]) : String(r[k])) })), parity, { label: `Parity of ${e.name}` }) : null);
    }));
  }
}

export class Provenance {
  constructor(app) {
    this.app = app;
    this.element = h('div', {});
  }
  update() {
    const { app } = this, { data, run } = app;
    replace(this.element,
      data.command ? [h('p', {}, 'This report was made by'), copyable(data.command)] : null,
      run ? [h('p', {}, `The search ${run.name} again: save its configuration below as `, h('code', {}, 'search.json'), ', then'), copyable(`hwnas search search.json --seed ${run.json.seed} --name ${quoted(run.name)}-again`), copyable(run.json.commands.front),
        table([{ head: 'what', cell: (r) => r[0] }, { head: 'is', code: true, cell: (r) => r[1] }], [
          ['space', run.json.space], ['strategy', run.json.strategy], ['seed', String(run.json.seed)], ['state', run.json.state],
          ['objectives', run.objectives.map((o) => `${o.goal} ${o.metric}`).join(', ')],
          ['limits', run.constraints.map((c) => `${c.metric}${c.min !== null ? ` ≥ ${number(c.min)}` : ''}${c.max !== null ? ` ≤ ${number(c.max)}` : ''}`).join(', ') || 'none'],
          ['numbers', run.metrics.map((m) => `${m.name}: ${m.source}`).join(', ')],
          ['hwnas', data.tool.version], ['made', data.created || '–']], { label: 'Facts of the search' }),
        h('details', { class: 'paper-too' }, h('summary', {}, 'Configuration'), h('pre', { tabindex: 0 }, JSON.stringify(run.json.config, null, 2)))] : null,
      data.files?.length ? h('details', { class: 'paper-too' }, h('summary', {}, `Made from ${data.files.length} files`), table([{ head: 'file', code: true, cell: (f) => f.file }, { head: 'SHA-256', code: true, cell: (f) => f.sha256 }], data.files, { label: 'Files and their hashes' })) : null,
      data.notes.length || run?.json.notes.length ? h('div', { class: 'warning' }, h('p', {}, 'While reading:'), h('ul', {}, [...data.notes, ...(run?.json.notes ?? [])].map((n) => h('li', {}, n)))) : null);
  }
}
