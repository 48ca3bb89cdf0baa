// The side panel of one candidate: what it is, what it costs, where it comes from, how to export it.
import { copyable, h, number, replace } from './dom.js';
import { layerTable, noLayers } from './networks.js';
import { legend, strip } from './strip.js';

const lineageDepth = 12;

export class Panel {
  constructor(app) {
    this.app = app;
    this.body = h('div', { class: 'panel-body' });
    this.heading = h('h2', { id: 'panel-title', tabindex: -1 });
    this.element = h('aside', { class: 'panel', 'aria-labelledby': 'panel-title', hidden: true },
      h('div', { class: 'panel-head' }, this.heading,
        h('button', { type: 'button', class: 'close', 'aria-label': 'close', onclick: () => this.close() }, '×')), this.body);
    document.addEventListener('keydown', (e) => e.key === 'Escape' && this.close());
  }
  close() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    document.documentElement.classList.remove('with-panel');
    this.from?.focus?.();
  }
  show(number_) {
    const { app } = this, { run } = app, i = run.place.get(number_);
    if (this.element.hidden) this.from = document.activeElement;
    const layers = run.layers(number_);
    this.heading.textContent = run.id(number_);
    replace(this.body,
      h('p', {}, `Candidate ${number_} · ${run.kind(i)}` + (run.candidates.violation[i] > 0 ? `, ${number(100 * run.candidates.violation[i])} % over the limits` : '')),
      run.failed(i) ? h('p', { class: 'warning' }, run.candidates.failure[i]) : null,
      h('table', { class: 'costs' }, h('tbody', {}, run.ordered.flatMap((m) => {
        const known = run.measuredOf(m, i), limit = run.limit(m);
        const row = (value, source) => h('tr', {}, h('th', { scope: 'row' }, m.name), h('td', { class: 'n' }, m.text(value)), h('td', { class: 'source' }, source));
        return [row(run.value(m, i), m.source + (limit && limit.max !== null ? `, limit ${m.text(limit.max)}` : '')),
          known ? row(known.value, `measured${known.where ? `: ${known.where}` : ''}`) : null];
      }))),
      h('h3', {}, 'Architecture'), h('p', { class: 'arch' }, run.candidates.arch[i]),
      layers ? [strip(layers, { width: 400, title: run.id(number_), session: app.session, unit: run.sessions[app.session]?.unit }), legend(),
        h('p', { class: 'note' }, `${layers.length} layers as the device runs them, ${run.json.architectures.parts.precision}.`),
        h('details', {}, h('summary', {}, 'Layers'), layerTable(run, layers))] : h('p', { class: 'empty' }, noLayers(run)),
      h('div', { class: 'tools' },
        app.compared.includes(number_) && app.compared.length > 1 ? h('button', { type: 'button', onclick: () => { app.unpin(number_); this.show(app.selected); } }, 'out of the comparison')
          : h('button', { type: 'button', onclick: () => { app.pin(number_); this.show(number_); } }, 'keep for comparison')),
      h('h3', {}, 'Lineage'), this.lineage(number_),
      h('h3', {}, 'Take it'), this.commands(i));
    this.element.hidden = false;
    document.documentElement.classList.add('with-panel');
    this.heading.focus({ preventScroll: true });
  }
  /** Parents, their parents, … the first parent's line, with the second named beside. */
  lineage(start) {
    const { app } = this, { run } = app, items = [];
    for (let n = start, depth = 0; n >= 0 && depth < lineageDepth; ++depth) {
      const i = run.place.get(n);
      if (i === undefined) break;
      const [a, b] = run.candidates.parents[i], here = n;
      items.push(h('li', {}, depth > 0 ? h('button', { type: 'button', class: 'link', onclick: () => app.select(here) }, run.id(n)) : 'this one',
        ` · ${run.candidates.origin[i]}, generation ${run.candidates.generation[i]}`, b >= 0 && b !== a ? [' with ', h('button', { type: 'button', class: 'link', onclick: () => app.select(b) }, run.id(b))] : null));
      n = a;
    }
    return h('ol', { class: 'lineage' }, items);
  }
  commands(i) {
    const { run } = this.app, arch = run.candidates.arch[i], space = run.json.space;
    const folder = `exports/${run.json.architectures?.ids[run.candidates.number[i]] ?? `candidate-${run.candidates.number[i]}`}`;
    const trained = run.json.config?.run ?? run.json.config?.problem?.run ?? this.app.data.trainings[0]?.folder ?? 'runs/TRAINED';
    return [copyable(`hwnas export ${quoted(arch)} --run ${quoted(trained)} --out ${folder}`),
      copyable(`hwnas space cost ${quoted(space)} --arch ${quoted(arch)} --layers`)];
  }
}

/** One word for a shell. */
export function quoted(text) {
  return /^[\w.\/:=,+@%-]+$/.test(text) ? text : `'${String(text).replaceAll("'", "'\\''")}'`;
}
