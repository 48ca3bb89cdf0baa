// What the document means: rows, metrics and genes of a run in the forms that the pictures need.
import { number, percent, short } from './dom.js';

export class Metric {
  constructor(record, index) {
    Object.assign(this, record);
    this.index = index;
    this.share = record.unit === 'share';
  }
  get label() {
    return `${this.axis} · ${this.source}`;
  }
  /** The value in the unit of the label. */
  shown(v) {
    return v === null || v === undefined ? null : this.share ? 100 * v : v;
  }
  get axis() {
    const unit = this.share ? '%' : this.unit;
    return this.name + (unit ? ` [${unit}]` : '');
  }
  /** The value as text, with its unit or, under a heading that has it, without. */
  text(v) {
    if (v === null || v === undefined) return '–';
    if (this.share) return percent(v);
    return this.plain(v) + (this.unit ? ' ' + this.unit : '');
  }
  plain(v) {
    if (v === null || v === undefined) return '–';
    const shown = this.shown(v);
    return Math.abs(shown) >= 1e5 ? short(shown) : number(shown);
  }
}

/** What the letters in an architecture's text mean, in the spaces that hwnas knows. */
const words = { r: 'resolution', w: 'width', d: 'depth', k: 'kernel', e: 'expand' };

export class Run {
  constructor(json) {
    this.json = json;
    this.metrics = json.metrics.map((m, i) => new Metric(m, i));
    this.settle();
  }
  get name() { return this.json.name; }
  get candidates() { return this.json.candidates; }
  get size() { return this.candidates.number.length; }
  metric(name) { return this.metrics.find((m) => m.name === name); }
  get objectives() { return this.json.question.objectives; }
  get constraints() { return this.json.question.constraints; }

  /** After new data: everything that is looked up by number. */
  settle() {
    this.place = new Map(this.candidates.number.map((n, i) => [n, i]));
    this.onFront = new Set(this.json.front);
    this.cells = null;
  }
  /** Appends what a live server sent. */
  grow(more) {
    const mine = this.candidates, fresh = more.candidates;
    fresh.number.forEach((n, i) => {
      if (this.place.has(n)) return;
      for (const key of Object.keys(fresh)) if (key !== 'values') mine[key].push(fresh[key][i]);
      fresh.values.forEach((column, m) => mine.values[m].push(column[i]));
    });
    const networks = this.json.architectures, extra = more.architectures;
    if (networks && extra) {
      for (const [key, column] of Object.entries(extra.parts)) {
        if (!Array.isArray(column)) continue;
        if (key === 'measured') column.forEach((m, s) => networks.parts.measured[s].times.push(...m.times));
        else networks.parts[key].push(...column);
      }
      for (const key of ['networks', 'ids', 'details']) Object.assign(networks[key], extra[key]);
    }
    for (const key of ['state', 'counts', 'notes', 'front', 'best', 'progress', 'baseline']) this.json[key] = more[key];
    this.settle();
  }

  /** Metrics as people ask for them: objectives, then what is limited, then the rest. */
  get ordered() {
    const rank = (m) => {
      const at = this.objectives.findIndex((o) => o.metric === m.name);
      return at >= 0 ? at : this.limit(m) ? 100 : 200;
    };
    return [...this.metrics].sort((a, b) => rank(a) - rank(b) || a.index - b.index);
  }
  /** What was measured of its candidates afterwards (predictions.jsonl beside the run): arch -> metric -> value. */
  takeMeasured(files) {
    this.measuredBy = new Map();
    for (const file of files) {
      if (file.run !== this.name) continue;
      for (const row of file.rows) {
        if (!this.measuredBy.has(row.arch)) this.measuredBy.set(row.arch, new Map());
        this.measuredBy.get(row.arch).set(row.metric, { value: row.measured, where: row.device ?? '' });
      }
    }
  }
  /** {value, where} of a predicted metric of a candidate, or undefined. */
  measuredOf(metric, i) {
    const other = this.metric(`${metric.name}_measured`), value = other && this.value(other, i);
    if (value !== null && value !== undefined) return { value, where: '' };
    return this.measuredBy?.get(this.candidates.arch[i])?.get(metric.name);
  }

  value(metric, i) { return this.candidates.values[metric.index][i]; }
  failed(i) { return this.candidates.failure[i] !== null; }
  feasible(i) {
    return !this.failed(i) && this.candidates.violation[i] === 0 && this.candidates.fidelity[i] >= 1;
  }
  kind(i) {
    if (this.failed(i)) return 'failed';
    if (this.onFront.has(this.candidates.number[i])) return 'front';
    return this.feasible(i) ? 'dominated' : this.candidates.fidelity[i] < 1 ? 'partly evaluated' : 'infeasible';
  }
  arch(number) { return this.candidates.arch[this.place.get(number)]; }
  id(number) { return this.json.architectures?.ids[number] ?? `#${number}`; }
  limit(metric) { return this.constraints.find((c) => c.metric === metric.name); }

  /** Kernels of a candidate in execution order, or null where they are not in the document. */
  layers(number) {
    const book = this.json.architectures, list = book?.networks[number];
    if (!list) return null;
    const p = book.parts;
    return list.map((k, i) => ({
      index: i, part: k, name: p.name[k], signature: p.signature[k], kind: p.kind[k], window: p.window[k],
      stride: p.stride[k], in: p.in[k], out: p.out[k], macs: p.macs[k], params: p.params[k],
      bytes: p.weight_bytes[k], stage: p.stage[k], times: p.measured.map((m) => m.times[k]),
    }));
  }
  details(number) { return this.json.architectures?.details[number] ?? null; }
  get sessions() { return this.json.architectures?.parts.measured ?? []; }

  /** "d=2,1:k=5,-" -> [{key, index, label}]: one cell a gene value, '-' where it is not active. */
  static cellsOf(text) {
    const cells = [];
    for (const part of text.split(':')) {
      const at = part.indexOf('=');
      if (at < 0) continue;
      part.slice(at + 1).split(',').forEach((label, index) => cells.push({ key: part.slice(0, at), index, label }));
    }
    return cells;
  }
  /** Gene columns: {key, index, name, labels by candidate}. Genes of one key keep their order. */
  get columns() {
    if (this.cells) return this.cells;
    const byName = new Map();
    this.candidates.arch.forEach((text, i) => {
      for (const cell of Run.cellsOf(text)) {
        const name = `${cell.key} ${cell.index + 1}`;
        if (!byName.has(name)) byName.set(name, { key: cell.key, index: cell.index, name, labels: [] });
        byName.get(name).labels[i] = cell.label;
      }
    });
    const many = new Map();
    for (const c of byName.values()) many.set(c.key, (many.get(c.key) ?? 0) + 1);
    const word = (key) => (this.json.architectures ? words[key] ?? key : key);
    this.cells = [...byName.values()].map((c) => ({ ...c, word: word(c.key), name: word(c.key) + (many.get(c.key) > 1 ? ` ${c.index + 1}` : '') }));
    return this.cells;
  }
}

/** Kendall's tau-b of two lists; quadratic, for at most some thousand pairs. */
export function kendall(x, y) {
  let same = 0, tiesX = 0, tiesY = 0, pairs = 0;
  for (let i = 0; i < x.length; ++i)
    for (let j = 0; j < i; ++j) {
      const a = Math.sign(x[i] - x[j]), b = Math.sign(y[i] - y[j]);
      ++pairs;
      same += a * b;
      tiesX += a === 0;
      tiesY += b === 0;
    }
  const scale = Math.sqrt((pairs - tiesX) * (pairs - tiesY));
  return scale > 0 ? same / scale : null;
}

export function quantile(sorted, p) {
  if (sorted.length === 0) return null;
  const at = p * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

/** Smallest and largest number of a list that may be long or empty. */
export function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) {
    if (v === null || v === undefined || Number.isNaN(v)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low > high ? null : [low, high];
}
