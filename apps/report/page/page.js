// The page: reads the document, builds the sections, keeps what is chosen, follows a live server.
import { h, number, replace } from './dom.js';
import { drawForPaper, figures, instanceOf, redrawAll } from './figure.js';
import { Genes, Timeline, Training } from './history.js';
import { Devices, Prediction } from './measuring.js';
import { Run } from './model.js';
import { Layers, Memory, Strips } from './networks.js';
import { Panel } from './panel.js';
import { Parallel } from './parallel.js';
import { Pareto, SearchProgress } from './pareto.js';
import { Quality } from './quality.js';
import { Comparison, Exports, Headline, Provenance } from './summary.js';

const mostCompared = 3;
const pollMs = 2000;
const schemes = ['auto', 'light', 'dark'];

class App {
  constructor(data, live) {
    this.live = live;
    this.take(data);
    this.build();
    this.chooseRun(0);
    if (live) this.poll();
  }
  take(data) {
    this.data = data;
    this.runs = data.runs.map((r) => new Run(r));
    for (const run of this.runs) run.takeMeasured(data.predictions);
    this.chosen = Math.min(this.chosen ?? 0, Math.max(0, this.runs.length - 1));
  }
  get run() { return this.runs[this.chosen]; }
  /** The session whose times give widths: the first that knows a kernel of the run. */
  get session() { return this.run.sessions.findIndex((s) => s.times.some((t) => t !== null)); }

  build() {
    this.panel = new Panel(this);
    this.parts = {};
    const nav = [], add = (id, title, part, needsRun = true) => {
      this.parts[id] = part;
      nav.push(h('a', { href: `#${id}` }, title));
      return h('section', { id, 'aria-labelledby': `${id}-title`, 'data-needs-run': needsRun }, h('h2', { id: `${id}-title` }, title), part.element);
    };
    const sections = [
      add('summary', 'Summary', new Headline(this)), add('candidates', 'Front', new Pareto(this)), add('search', 'Search progress', new SearchProgress(this)),
      add('parallel', 'Candidates', new Parallel(this)), add('networks', 'Architectures', new Strips(this)), add('layer-costs', 'Cost by layer', new Layers(this)),
      add('memory', 'Memory', new Memory(this)), add('predicted', 'Predicted and measured', new Prediction(this), false), add('quality', 'Measurements', new Quality(this), false),
      add('gene-frequency', 'Genes on the front', new Genes(this)), add('tasks', 'Tasks', new Timeline(this), false), add('training', 'Training', new Training(this), false),
      add('side-by-side', 'Side by side', new Devices(this)), add('comparison', 'Runs compared', new Comparison(this)), add('exports', 'Exports', new Exports(this), false),
      add('provenance', 'Provenance', new Provenance(this), false)];
    this.title = h('h1', {}, this.data.title);
    this.runMenu = h('select', { onchange: () => this.chooseRun(Number(this.runMenu.value)) });
    this.runLabel = h('label', { class: 'run-menu' }, 'search ', this.runMenu);
    this.status = h('span', { class: 'status', role: 'status' });
    const scheme = h('button', { type: 'button', class: 'scheme', onclick: () => this.nextScheme(scheme) }, 'colours: auto');
    this.none = h('p', { class: 'empty', id: 'no-run' }, 'No search is part of this report.');
    replace(document.getElementById('app'), h('a', { class: 'skip', href: '#summary' }, 'to the content'),
      h('header', {}, h('div', { class: 'bar' }, this.title, this.runLabel, this.status, scheme), h('nav', { 'aria-label': 'Sections' }, nav)),
      h('main', {}, this.none, sections), this.panel.element,
      h('footer', {}, `hwnas ${this.data.tool.version}${this.data.created ? ` · ${this.data.created}` : ''} · numbers say whether they are measured, predicted or modelled · drawn with Apache ECharts`));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawAll);
    addEventListener('beforeprint', () => this.print(true));
    addEventListener('afterprint', () => this.print(false));
  }
  /** Paper has room for everything at once, and nothing there can be opened. */
  print(on) {
    if (on) this.opened = [...document.querySelectorAll('details.paper-too:not([open])')];
    for (const details of this.opened ?? []) details.open = on;
    drawForPaper(on);
    if (this.run) this.parts.networks.update();
  }
  nextScheme(button) {
    const root = document.documentElement, now = root.dataset.scheme ?? 'auto', next = schemes[(schemes.indexOf(now) + 1) % 3];
    if (next === 'auto') delete root.dataset.scheme;
    else root.dataset.scheme = next;
    button.textContent = `colours: ${next}`;
    redrawAll();
  }
  chooseRun(i) {
    this.chosen = i;
    const { run } = this;
    this.none.hidden = this.runLabel.hidden = true;
    for (const section of document.querySelectorAll('[data-needs-run]')) section.hidden = !run;
    document.title = `${this.data.title} - hwnas`;
    if (run) {
      this.title.textContent = this.data.title;
      replace(this.runMenu, this.runs.map((r, k) => h('option', { value: k }, r.name)));
      this.runMenu.value = i;
      this.runLabel.hidden = this.runs.length < 2;
      this.restart();
      this.parts.candidates.setRun(run);
      this.parts.parallel.setRun(run);
    } else {
      this.none.hidden = false;
      this.selected = null;
      this.compared = [];
    }
    this.update();
  }
  /** What is chosen in a run that was not looked at yet: its best, beside the ends of the front. */
  restart() {
    const { best, front } = this.run.json;
    const first = best ?? front[0] ?? this.run.candidates.number[0] ?? null;
    this.selected = first;
    this.compared = first === null ? [] : [...new Set([first, front[0], front.at(-1)].filter((n) => n !== undefined && this.run.place.has(n)))];
  }
  update() {
    const needs = new Set(['predicted', 'quality', 'tasks', 'training', 'exports', 'provenance']);
    for (const [id, part] of Object.entries(this.parts)) {
      if (!this.run && !needs.has(id)) continue;
      if (part.update) part.update();
      else part.figure.update();
    }
  }
  select(number_) {
    if (!this.run.place.has(number_)) return;
    this.selected = number_;
    if (!this.compared.includes(number_)) this.compared = [number_, ...this.compared.slice(0, mostCompared - 1)];
    this.changed();
    this.panel.show(number_);
  }
  pin(number_) {
    this.compared = [...this.compared.filter((n) => n !== number_), number_].slice(-mostCompared);
    this.changed();
  }
  unpin(number_) {
    this.compared = this.compared.filter((n) => n !== number_);
    this.changed();
  }
  changed() {
    for (const id of ['networks', 'layer-costs', 'memory']) this.parts[id].update();
    this.parts.candidates.figure.update();
  }

  // ---- live ----
  say(text, kind) {
    this.status.textContent = text;
    this.status.className = `status ${kind}`;
  }
  async poll() {
    try {
      const answer = await fetch(`api/v1/report?since=${encodeURIComponent(this.data.cursor)}`, { cache: 'no-store' });
      if (!answer.ok) throw new Error(`the server says ${answer.status}`);
      this.receive(await answer.json());
      this.say(`live · ${number(this.run?.json.counts.candidates ?? 0)} candidates`, 'on');
    } catch (error) {
      this.say(`not connected: ${error.message}; trying again`, 'off');
    }
    setTimeout(() => this.poll(), pollMs);
  }
  receive(answer) {
    if (answer.whole) {
      this.take(answer.whole);
      this.chooseRun(this.chosen);
      return;
    }
    const changed = answer.cursor !== this.data.cursor;
    this.data.cursor = answer.cursor;
    if (!changed) return;
    (answer.runs ?? []).forEach((more, i) => this.runs[i].grow(more));
    if (answer.comparison) this.data.comparison = answer.comparison;
    if (answer.crossed) this.data.crossed = answer.crossed;
    if (answer.others) {
      Object.assign(this.data, answer.others);
      for (const run of this.runs) run.takeMeasured(this.data.predictions);
    }
    if (this.run && this.selected === null) this.restart();
    this.update();
  }
}

const block = document.getElementById('data');
window.hwnas = { app: new App(JSON.parse(block.textContent), block.dataset.live === '1'), instanceOf, figures };
