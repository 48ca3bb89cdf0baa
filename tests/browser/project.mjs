// Projects for the page tests: made by the program itself, or written line by line for the odd cases.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export const program = process.env.HWNAS_PROGRAM;

export function hwnas(folder, ...args) {
  return execFileSync(program, ['-C', folder, '-q', ...args], { cwd: folder, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] });
}

export function newProject(name) {
  return mkdtempSync(path.join(tmpdir(), `hwnas-page-${name}-`));
}

/** A search over the tiny space by its closed form. */
export function searchConfig(folder, more = {}) {
  const config = {
    name: 'mine', seed: 1, budget: '300evals',
    objectives: [{ metric: 'proxy', goal: 'max' }, { metric: 'macs_m', goal: 'min' }],
    constraints: [{ metric: 'params_m', max: 0.018 }],
    strategy: { name: 'nsga2', population: 32 }, problem: { kind: 'closed-form', space: 'tiny', seed: 1 }, ...more,
  };
  const file = path.join(folder, 'search.json');
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** A run folder by hand: rows are {genes, arch, values | failure, origin, parents}. */
export function writeRun(folder, name, rows, { space = 'none', strategy = 'nsga2', seed = 1, problem, metrics, config = {} } = {}) {
  const to = path.join(folder, 'runs', name);
  mkdirSync(to, { recursive: true });
  writeFileSync(path.join(to, 'run.json'), JSON.stringify({
    space, strategy, seed,
    problem: problem ?? { objectives: [{ metric: 'accuracy', goal: 'max' }, { metric: 'ms', goal: 'min' }], constraints: [{ metric: 'ms', max: 8 }] },
    metrics: metrics ?? [{ name: 'accuracy', unit: 'share', source: 'measured' }, { name: 'ms', unit: 'ms', source: 'predicted' }],
    genes: ['a', 'b', 'c'], config,
  }));
  const line = (row, number) => JSON.stringify({ number, arch: row.arch ?? `a=${row.genes[0]}:b=${row.genes[1]}:c=${row.genes[2]}`, genes: row.genes,
    origin: row.origin ?? 'random', generation: row.generation ?? 0, parents: row.parents ?? [-1, -1], fidelity: 1,
    ...(row.failure ? { failure: row.failure } : { values: row.values, violation: 0 }) });
  writeFileSync(path.join(to, 'candidates.jsonl'), rows.map((r, i) => `${line(r, i)}\n`).join(''));
}

/** A session of `hwnas profile` by hand: some kernels, states as in the file. */
export function writeSession(folder, name, { device = name, unit = 'ns', kernels = ['kernel 0', 'kernel 1', 'kernel 2'], context = { compiler: 'gcc' }, states = [] } = {}) {
  const lines = [{ format: 'hwnas-session-1', id: name, device, profile: 'p', engine: 'c', precision: 'int8', unit, space: 'tiny', started: '2026-01-01T00:00:00Z', context },
    ...states.map((state) => ({ state })),
    ...kernels.map((signature, i) => [signature, 1000 * (i + 1)]).map(([signature, median]) => ({ signature, n: 60, visits: 6, median, low: unit === 'ns' ? 0.99 * median : median, high: unit === 'ns' ? 1.01 * median : median, mean: median, deviation: 1, min: median, p05: median, p90: median,
      outliers: 0, inner: 1, drift: 1, spent: 1, steady: true, flash_bytes: 0, arena_bytes: 0, visit_medians: unit === 'ns' ? [median, 1.01 * median] : [], classes: {} }))];
  mkdirSync(path.join(folder, 'sessions'), { recursive: true });
  writeFileSync(path.join(folder, 'sessions', `${name}.jsonl`), lines.map((l) => `${JSON.stringify(l)}\n`).join(''));
}

export function report(folder, ...names) {
  const out = path.join(folder, 'report.html');
  hwnas(folder, 'report', ...names, '-o', out);
  return `file://${out}`;
}
