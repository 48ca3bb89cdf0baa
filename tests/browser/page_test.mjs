// The report's page in Chromium. Data is asserted, not pixels.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { openBrowser, openPage } from './browser.mjs';
import { hwnas, newProject, program, report, searchConfig, writeRun, writeSession } from './project.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const folders = [];
let browser, mine, mineUrl, line, lineUrl;

function project(name) {
  const folder = newProject(name);
  folders.push(folder);
  return folder;
}

before(async () => {
  browser = await openBrowser();
  mine = project('mine');
  const config = searchConfig(mine);
  hwnas(mine, 'search', config);
  for (const seed of [1, 2, 3, 4, 5]) hwnas(mine, 'search', config, '--set', 'strategy.name=random', '--seed', String(seed), '--name', `random${seed}`);
  mineUrl = report(mine, 'mine');
  line = lineProject();
  lineUrl = report(line);
});
after(async () => {
  await browser.close();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

async function opened(url, options, body) {
  const { page, context, problems } = await openPage(browser, url, options);
  try {
    await page.waitForFunction(() => window.hwnas !== undefined);
    await body(page);
    assert.deepEqual(problems, []);
  } finally {
    await context.close();
  }
}

/** Brings a section into view and waits until its picture is drawn. */
async function drawn(page, id) {
  await page.locator(`[data-chart="${id}"]`).scrollIntoViewIfNeeded();
  await page.waitForFunction((i) => window.hwnas.figures.get(i).chart !== undefined, id);
}

function series(page, figure, name) {
  return page.evaluate(([f, n]) => {
    const chart = window.hwnas.instanceOf(document.querySelector(`[data-chart="${f}"]`));
    return chart.getOption().series.filter((s) => s.name === n).flatMap((s) => s.data);
  }, [figure, name]);
}

/** A project as `hwnas run` leaves one, with invented times: two devices, baselines, measured fronts, stages. */
function lineProject() {
  const folder = project('line');
  const arch = (a, b) => `r=20:d=1,1,1:k=${a},-,${b},-,3,-:e=2,-,2,-,2,-`;
  const list = [[3, 3], [5, 3], [3, 5], [5, 5]];
  for (const [name, metric, unit, max] of [['m4', 'minstr', 'Minstr', 8], ['host', 'latency_ms', 'ms', 9]]) {
    const metrics = [{ name: 'ram_kb', unit: 'KiB', source: 'modelled' }, { name: 'top1', unit: 'share', source: 'predicted' }, { name: metric, unit, source: 'predicted' }];
    const problem = { objectives: [{ metric: 'top1', goal: 'max' }, { metric, goal: 'min' }], constraints: [{ metric, max }, { metric: 'ram_kb', max: 64 }] };
    const rows = list.map(([a, b], i) => ({ genes: [i, 0, 0], arch: arch(a, b), generation: i, values: { ram_kb: 5, top1: 0.6 + i / 10, [metric]: 2 + i } }));
    writeRun(folder, name, rows, { metrics, problem });
    for (const seed of [1, 2, 3]) writeRun(folder, `${name}-random-${seed}`, rows.slice(0, 2), { metrics, problem, strategy: 'random', seed });
    writeFileSync(path.join(folder, 'runs', name, 'predictions.jsonl'), list.map(([a, b], i) => `${JSON.stringify({ arch: arch(a, b), device: 'supernet, test split', metric: 'top1', unit: 'share', predicted: 0.6 + i / 10, measured: 0.55 + i / 10 })}\n`).join(''));
  }
  mkdirSync(path.join(folder, '.hwnas', 'stages'), { recursive: true });
  writeFileSync(path.join(folder, '.hwnas', 'stages', 'train.json'), JSON.stringify({ stage: 'train', seconds: 29, peak_kilobytes: 262144 }));
  return folder;
}

test('the front is that of `hwnas front`, from disk and without network', async () => {
  const front = JSON.parse(hwnas(mine, 'front', 'mine', '-f', 'json'));
  assert.ok(front.length > 5);
  await opened(mineUrl, {}, async (page) => {
    await drawn(page, 'front');
    const points = await series(page, 'front', 'front');
    const sorted = (list) => list.sort((a, b) => a[2] - b[2]);
    assert.deepEqual(sorted(points), sorted(front.map((r) => [r.macs_m, r.proxy, r.number])));
    const all = (await series(page, 'front', 'infeasible')).length + (await series(page, 'front', 'dominated')).length + points.length;
    assert.equal(all, 300);
  });
});

test('the band is that of five random searches', async () => {
  await opened(mineUrl, {}, async (page) => {
    await drawn(page, 'progress');
    const middle = await series(page, 'progress', 'random, median');
    assert.ok(middle.length > 100);
    const width = (await series(page, 'progress', 'random, quartiles')).map((p) => p[1]);
    assert.ok(width.every((w) => w >= 0) && width.some((w) => w > 0));
    assert.match(await page.locator('#search .note').textContent(), /5 random searches.*median.*quartiles/s);
  });
});

test('what was measured stands beside what was predicted, joined to it', async () => {
  await opened(lineUrl, {}, async (page) => {
    await drawn(page, 'front');
    const filled = (await series(page, 'front', 'front')).sort((a, b) => a[0] - b[0]);
    const hollow = (await series(page, 'front', 'measured')).filter((p) => p.length === 3).sort((a, b) => a[0] - b[0]);
    assert.equal(filled.length, 4);
    assert.deepEqual(hollow.map((p) => p[0]), filled.map((p) => p[0]));
    hollow.forEach((p, i) => assert.ok(Math.abs(filled[i][1] - p[1] - 5) < 1e-9));
    assert.match(await page.locator('#summary').textContent(), /best top1.*measured 85 %/s);
    await page.evaluate(() => window.hwnas.app.select(window.hwnas.app.run.json.best));
    assert.match(await page.locator('.panel .costs').textContent(), /measured: supernet, test split/);
  });
});

test('a project shows its searches, with baselines, stages, hashes and its own name', async () => {
  const data = JSON.parse(hwnas(line, 'report', '--data'));
  await opened(lineUrl, {}, async (page) => {
    assert.equal(await page.locator('h1').textContent(), path.basename(line));
    assert.deepEqual(await page.locator('header select option').allTextContents(), ['host', 'm4']);
    const compared = await page.locator('#comparison tbody tr td:first-child').allTextContents();
    assert.deepEqual(compared, ['host', 'host: random, median of 3', 'm4', 'm4: random, median of 3']);
    // Hypervolumes of different questions are not held against each other: each search is the best of its own.
    const shares = await page.locator('#comparison tbody tr td:nth-child(8)').allTextContents();
    assert.deepEqual([shares[0], shares[2]], ['100 %', '100 %']);
    assert.match(await page.locator('#tasks').textContent(), /train29 s256 MiB/);
    const hashes = await page.locator('#provenance details tbody tr td:nth-child(2)').allTextContents();
    assert.deepEqual(hashes, data.files.map((f) => f.sha256));
    assert.ok(hashes.length > 4 && hashes.every((k) => /^[0-9a-f]{64}$/.test(k)));
    assert.match(await page.locator('#provenance .copyable code').first().textContent(), /^hwnas .*report -o /);
  });
});

test('a session shows how its device was over the time of measuring', async () => {
  const folder = project('sessions');
  // Ten states 0.2 s apart, an hour's pause, ten more; the device slows down by 1 % a state and warms up.
  const states = Array.from({ length: 20 }, (_, i) => ({ time: 1.7e9 + 0.2 * i + (i > 9 ? 3600 : 0), references: { 'kernel 1': 2000 * (1 + 0.01 * i) }, load: 2, ...(i > 4 ? { clock_mhz: 1800, celsius: 40 + i } : {}) }));
  writeSession(folder, 'phone', { states });
  writeSession(folder, 'silent', { states: states.map(({ time, references }) => ({ time, references })) });
  writeSession(folder, 'older');
  writeSession(folder, 'counted', { unit: 'instructions' });
  await opened(report(folder), {}, async (page) => {
    const menu = page.locator('#quality select').first();
    const choose = async (name) => menu.selectOption({ label: name });
    const words = () => page.locator('#quality').textContent();
    assert.notEqual(await menu.evaluate((e) => e.selectedOptions[0].textContent), 'counted', 'at first one that was timed');
    await choose('phone');
    await drawn(page, 'climate');
    const slower = await series(page, 'drift', 'reference kernel');
    assert.equal(slower.length, 20);
    // The fastest tenth is between the second and the third: 1.019; the pause is cut out.
    slower.forEach(([t, v], i) => {
      assert.ok(Math.abs(t - 0.2 * (i > 9 ? i - 1 : i)) < 1e-5);
      assert.ok(Math.abs(v - 100 * ((1 + 0.01 * i) / 1.019 - 1)) < 1e-9);
    });
    assert.deepEqual((await series(page, 'drift', 'load')).map((p) => p[1]), Array(20).fill(2));
    assert.deepEqual((await series(page, 'climate', 'temperature')).map((p) => p[1]), states.map((s) => s.celsius ?? null));
    assert.deepEqual((await series(page, 'climate', 'clock')).map((p) => p[1]), states.map((s) => s.clock_mhz ?? null));
    await choose('silent');
    assert.match(await words(), /Clock and temperature are not readable on this device/);
    assert.equal((await series(page, 'drift', 'load')).length, 0);
    assert.equal((await series(page, 'drift', 'reference kernel')).length, 20);
    await choose('older');
    assert.match(await words(), /holds no states of its device/);
    await choose('counted');
    assert.match(await words(), /instructions do not drift/);
    // Without a search the page prints and changes its colours all the same.
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.ok((await page.pdf({ format: 'A4' })).length > 10_000);
  });
});

test('generations have their colours', async () => {
  await opened(lineUrl, {}, async (page) => {
    await drawn(page, 'front');
    await page.evaluate(() => { window.hwnas.app.run.json.front.splice(0); window.hwnas.app.run.settle(); });
    await page.getByLabel('colour', { exact: false }).first().selectOption('generation');
    const shown = await page.evaluate(() => window.hwnas.instanceOf(document.querySelector('[data-chart="front"]')).getOption().series
      .filter((s) => s.name.startsWith('generation')).map((s) => [s.name, s.data.length, s.itemStyle.color]));
    assert.deepEqual(shown.map((s) => s.slice(0, 2)), [0, 1, 2, 3].map((g) => [`generation ${g}`, 1]));
    assert.equal(new Set(shown.map((s) => s[2])).size, 4);
  });
});

test('buffers, arena, flash and genes are those of the document', async () => {
  await opened(mineUrl, {}, async (page) => {
    for (const id of ['ram', 'arena', 'flash', 'genes']) await drawn(page, id);
    const seen = await page.evaluate(() => {
      const { app } = window.hwnas, option = (id) => window.hwnas.instanceOf(document.querySelector(`[data-chart="${id}"]`)).getOption();
      return { details: app.run.details(app.selected), bars: option('ram').series[0].data, blocks: option('arena').series[0].data.length,
        flash: option('flash').series.map((s) => s.data[0]).reduce((a, b) => a + b, 0), bytes: app.run.layers(app.selected).reduce((a, l) => a + l.bytes, 0),
        genes: option('genes').series[0].data.filter((c) => c[0] === 0).reduce((a, c) => a + c[2], 0), note: document.querySelector('#memory .note').textContent };
    });
    assert.equal(seen.blocks, seen.details.arena.blocks.length);
    seen.details.live.forEach((needed, step) => {
      const high = Math.max(...seen.bars.filter((b) => b[0] === step).map((b) => b[2] * 1024));
      assert.ok(high >= needed - 1e-6 && high <= seen.details.arena.size + 1e-6, `step ${step}: ${high}, ${needed}`);
    });
    assert.ok(Math.abs(seen.flash * 1024 - seen.bytes) < 1e-6);
    assert.ok(Math.abs(seen.genes - 1) < 1e-9);
    assert.match(seen.note, /^Peak .* at \S+/);
  });
});

async function keptRows(page) {
  return page.evaluate(() => {
    const { rows, app } = window.hwnas.app.parts.parallel;
    return rows.map((i) => app.run.candidates.number[i]).sort((a, b) => a - b);
  });
}

test('brushing an axis with the mouse keeps exactly the rows of a query', async () => {
  await opened(mineUrl, {}, async (page) => {
    await drawn(page, 'parallel');
    await page.locator('[data-chart="parallel"]').evaluate((e) => e.scrollIntoView({ block: 'center' }));
    const place = await page.evaluate(() => {
      const { axes } = window.hwnas.app.parts.parallel, host = document.querySelector('[data-chart="parallel"]');
      const dim = axes.findIndex((a) => a.name === 'proxy'), box = host.getBoundingClientRect();
      const model = window.hwnas.instanceOf(host).getModel(), layout = model.getComponent('parallel').coordinateSystem.getAxisLayout(`dim${dim}`);
      return { dim, x: box.left + layout.position[0], y: box.top + layout.position[1], host: box.height };
    });
    const from = place.y - 190, to = place.y - 60;
    await page.mouse.move(place.x, from);
    await page.mouse.down();
    await page.mouse.move(place.x, (from + to) / 2, { steps: 4 });
    await page.mouse.move(place.x, to, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction(() => window.hwnas.app.parts.parallel.intervals.size === 1);
    const [low, high] = await page.evaluate((d) => window.hwnas.app.parts.parallel.intervals.get(d), place.dim);
    assert.ok(low < high);
    const wanted = JSON.parse(hwnas(mine, 'report', 'mine', '--data')).runs[0].candidates;
    const query = wanted.number.filter((_, i) => wanted.values[0][i] >= low && wanted.values[0][i] <= high);
    assert.ok(query.length > 0 && query.length < 300);
    assert.deepEqual(await keptRows(page), query);
    assert.match(await page.locator('#rows-kept').textContent(), new RegExp(`^${query.length} of 300`));
  });
});

test('the filter fields keep the rows of a query, and two filters together', async () => {
  await opened(mineUrl, {}, async (page) => {
    const filter = async (axis, low, high) => {
      await page.getByLabel('axis to filter').selectOption({ label: axis });
      await page.getByLabel('at least').fill(String(low));
      await page.getByLabel('at most').fill(String(high));
      await page.getByRole('button', { name: 'filter', exact: true }).click();
    };
    await filter('macs_m', 0.2, 0.4);
    await filter('proxy', 3, 100);
    const c = JSON.parse(hwnas(mine, 'report', 'mine', '--data')).runs[0].candidates;
    const query = c.number.filter((_, i) => c.values[1][i] >= 0.2 && c.values[1][i] <= 0.4 && c.values[0][i] >= 3 && c.values[0][i] <= 100);
    assert.deepEqual(await keptRows(page), query);
  });
});

test('clicking a point shows its architecture with as many boxes as layers', async () => {
  await opened(mineUrl, {}, async (page) => {
    await drawn(page, 'front');
    const target = await page.evaluate(() => {
      const host = document.querySelector('[data-chart="front"]'), chart = window.hwnas.instanceOf(host), box = host.getBoundingClientRect();
      const option = chart.getOption(), at = option.series.findIndex((s) => s.name === 'front'), p = option.series[at].data[2];
      const [x, y] = chart.convertToPixel({ seriesIndex: at }, p.slice(0, 2));
      return { x: box.left + x, y: box.top + y, number: p[2] };
    });
    await page.mouse.click(target.x, target.y);
    await page.waitForSelector('.panel:not([hidden])');
    const candidate = JSON.parse(hwnas(mine, 'front', 'mine', '-f', 'json')).find((r) => r.number === target.number);
    assert.equal(await page.locator('.panel .arch').first().textContent(), candidate.arch);
    const svg = path.join(mine, 'one.svg');
    hwnas(mine, 'space', 'show', 'tiny', '--arch', candidate.arch, '--svg', svg);
    const boxes = (readFileSync(svg, 'utf8').match(/class="kernel"/g) ?? []).length;
    assert.ok(boxes > 5);
    assert.equal(await page.locator('.panel svg .kernel').count(), boxes);
    assert.match(await page.locator('.panel .copyable code').first().textContent(), /^hwnas export .*--out exports\//);
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('.panel').isVisible(), false);
  });
});

test('everything can be reached by keyboard', async () => {
  await opened(mineUrl, {}, async (page) => {
    const first = page.locator('#parallel button.link').first();
    await first.focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('.panel:not([hidden])');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'panel-title');
    await page.keyboard.press('Escape');
    assert.equal(await first.evaluate((e) => e === document.activeElement), true);
  });
});

const rowsOf = (n, value) => Array.from({ length: n }, (_, i) => ({ genes: [i % 200, Math.floor(i / 200) % 200, Math.floor(i / 40000)], values: value(i) }));
const hostile = `</script><img src=x onerror=alert(1)><!--{{7*7}}"'&`;

const odd = {
  'no candidate': () => [[], {}],
  'one candidate': () => [rowsOf(1, () => ({ accuracy: 0.5, ms: 3 })), {}],
  'only infeasible ones': () => [rowsOf(30, (i) => ({ accuracy: 0.5 + i / 100, ms: 9 + i })), {}],
  'numbers that are none': () => [rowsOf(30, (i) => ({ accuracy: i % 3 ? null : 0.6 + i / 100, ms: 3 + i / 10 })), {}],
  'all values equal': () => [rowsOf(10, () => ({ accuracy: 0, ms: 0 })), {}],
};
for (const [name, make] of Object.entries(odd))
  test(`a run with ${name} opens without an error`, async () => {
    const folder = project('odd'), [rows, options] = make();
    writeRun(folder, 'odd', rows, options);
    await opened(report(folder), {}, async (page) => {
      await page.evaluate(() => { for (const f of window.hwnas.figures.values()) f.start(); });
      assert.equal(await page.evaluate(() => window.hwnas.app.run.size), rows.length);
      assert.ok((await page.locator('#summary').textContent()).includes(name === 'only infeasible ones' ? 'no candidate meets the limits' : 'on the front'));
      if (rows.length > 1) await page.evaluate(() => window.hwnas.app.select(1));
    });
  });

test('no text of a user becomes markup or script', async () => {
  const folder = project('hostile');
  const metrics = [{ name: hostile, unit: hostile, source: 'measured' }, { name: 'ms', unit: hostile, source: 'predicted' }];
  const problem = { objectives: [{ metric: hostile, goal: 'max' }, { metric: 'ms', goal: 'min' }], constraints: [{ metric: 'ms', max: 8 }] };
  const rows = rowsOf(40, (i) => ({ [hostile]: i / 100, ms: 1 + (i % 9) })).map((r, i) => ({ ...r, arch: `${hostile}=${i}:${hostile}` }));
  rows.push({ genes: [199, 1, 1], failure: hostile, arch: hostile });
  writeRun(folder, '<img src=x onerror=alert(2)>', rows, { space: hostile, strategy: hostile, metrics, problem, config: { [hostile]: hostile } });
  const put = (name, ...lines) => {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), lines.map((l) => `${JSON.stringify(l)}\n`).join(''));
  };
  put('runs/<img src=x onerror=alert(2)>/predictions.jsonl', ...rows.slice(0, 9).map((r) => ({ arch: r.arch, device: hostile, metric: hostile, unit: hostile, predicted: 2, measured: 3 })));
  put('net/config.json', { space: hostile, data: hostile, recipe: hostile, seed: hostile });
  put('net/metrics.jsonl', ...[1, 2, 3].map((epoch) => ({ step: epoch, phase: hostile + epoch, epoch, paths: [{ genotype: hostile, loss: 1, accuracy: 0.5 }] })), { step: 4, split: 'validation', score: { network: hostile, top1: 0.5, images: 3 } });
  put('exports/e/manifest.json', { architecture: { genotype: hostile }, metrics: { [hostile]: { value: 1, unit: hostile, source: hostile } } });
  put('exports/e/parity.json', [{ [hostile]: hostile }]);
  put('.hwnas/stages/a.json', { stage: hostile, seconds: 1, peak_kilobytes: 1 });
  for (const name of ['one', 'two']) writeSession(folder, name, { device: hostile, kernels: [hostile, `${hostile}2`], context: { [hostile]: hostile, [`before.${hostile}`]: hostile }, states: [1, 2, 3].map((time) => ({ time, references: { [hostile]: 5, [`${hostile}2`]: 6 }, celsius: 40 })) });
  hwnas(folder, 'submit', '--shell', `exit 0 # ${hostile}`, '--name', hostile);
  hwnas(folder, 'worker', '--name', hostile, '--drain');
  const out = path.join(folder, 'report.html');
  hwnas(folder, 'report', '--title', hostile, '-o', out);
  await opened(`file://${out}`, {}, async (page) => {
    let alerts = 0;
    page.on('dialog', (d) => { ++alerts; d.dismiss(); });
    await page.evaluate(() => { for (const f of window.hwnas.figures.values()) f.start(); });
    await page.evaluate(() => window.hwnas.app.select(3));
    await page.keyboard.press('Escape');
    const charts = await page.evaluate(() => [...window.hwnas.figures.values()].filter((f) => !f.host.hidden && !f.host.closest('[hidden]')).map((f) => f.id));
    for (const id of ['front', 'prediction', 'drift', 'climate', 'training-loss', 'timeline']) assert.ok(charts.includes(id), id);
    for (const id of charts) {
      await drawn(page, id);
      const box = await page.locator(`[data-chart="${id}"]`).boundingBox();
      for (let i = 1; i < 8; ++i) await page.mouse.move(box.x + (box.width * i) / 8, box.y + box.height / 2);
    }
    assert.equal(await page.locator('h1').textContent(), hostile);
    assert.equal(await page.locator('img').count(), 0);
    assert.equal(alerts, 0);
  });
});

test('20,000 candidates open in under three seconds', async () => {
  const folder = project('many');
  writeRun(folder, 'many', rowsOf(20000, (i) => ({ accuracy: 0.5 + 0.4 * Math.sin(i * 12.9898) ** 2, ms: 1 + 11 * Math.cos(i * 78.233) ** 2 })));
  const url = report(folder);
  let took = Infinity;
  // The best of three: other work on this machine is not the page's.
  for (let i = 0; i < 3 && took >= 3000; ++i) {
    const started = Date.now();
    await opened(url, {}, async (page) => {
      await drawn(page, 'front');
      took = Math.min(took, Date.now() - started);
      assert.equal(await page.evaluate(() => window.hwnas.app.run.size), 20000);
      if (took < 3000) await drawn(page, 'parallel');
    });
  }
  console.log(`20,000 candidates: front drawn after ${took} ms`);
  assert.ok(took < 3000, `${took} ms`);
});

for (const scheme of ['light', 'dark'])
  for (const width of [360, 1600])
    test(`fits ${width} pixels in ${scheme}, and axe finds nothing`, async () => {
      await opened(mineUrl, { width, height: 800, scheme }, async (page) => {
        await page.evaluate(() => { for (const f of window.hwnas.figures.values()) f.start(); });
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
        await page.evaluate(() => window.hwnas.app.select(window.hwnas.app.run.json.best));
        await page.evaluate(axe);
        const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        assert.deepEqual(found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 4).join(', ')}`), []);
      });
    });

test('prints', async () => {
  await opened(mineUrl, { scheme: 'dark' }, async (page) => {
    for (const format of ['A4', 'Letter']) assert.ok((await page.pdf({ format })).length > 50_000);
    // Every picture is on paper, in its width and colours, as one opaque image that nobody has to wait for.
    const paper = await page.evaluate(() => {
      dispatchEvent(new Event('beforeprint'));
      return [...window.hwnas.figures.values()].filter((f) => !f.host.hidden && !f.host.closest('[hidden]')).map((f) => {
        const image = f.host.querySelector('canvas.print'), data = image.getContext('2d').getImageData(0, 0, image.width, image.height).data;
        let ink = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i] < 250 || data[i + 1] < 250 || data[i + 2] < 250) ++ink;
        return { id: f.id, corner: [...data.slice(0, 4)], width: image.width / 3, ink: ink / (image.width * image.height) };
      });
    });
    assert.ok(paper.length > 6);
    for (const image of paper) {
      assert.deepEqual(image.corner, [255, 255, 255, 255], image.id);
      assert.ok(image.width > 250 && image.width <= 703, `${image.id}: ${image.width}`);
      assert.ok(image.ink > 0.005, `${image.id}: ${image.ink}`);
    }
    await page.setViewportSize({ width: 703, height: 1000 });  // what A4 has between its margins
    await page.emulateMedia({ media: 'print' });
    assert.deepEqual(await page.evaluate(() => ({ wide: document.documentElement.scrollWidth > 703, nav: document.querySelector('nav').offsetHeight, tools: document.querySelector('.tools').offsetHeight, closed: [...document.querySelectorAll('#provenance details')].filter((d) => !d.open).length })),
      { wide: false, nav: 0, tools: 0, closed: 0 });
    // And back on the screen.
    await page.emulateMedia({ media: 'screen' });
    assert.deepEqual(await page.evaluate(() => {
      dispatchEvent(new Event('afterprint'));
      return { images: document.querySelectorAll('canvas.print').length, paper: document.documentElement.className, open: document.querySelectorAll('#provenance details[open]').length };
    }), { images: 0, paper: '', open: 0 });
  });
});

function serve(folder, bind) {
  const child = spawn(program, ['-C', folder, 'serve', '--bind', bind], { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.stdout.once('data', (text) => resolve({ child, url: String(text).trim() }));
    child.once('exit', (code) => reject(new Error(`serve ended with ${code}`)));
  });
}

test('the live page grows while a search runs, and goes on after its server was killed', async () => {
  const folder = project('live'), config = searchConfig(folder, { strategy: { name: 'predictor' } });
  // It leaves the browser and the server room: this is about what they show, not about how fast.
  const search = spawn('nice', ['-n', '19', program, '-C', folder, '-q', 'search', config, '--budget', '4000evals'], { cwd: folder, stdio: 'ignore' });
  const ended = new Promise((done) => search.once('exit', done));
  let server;
  try {
    while (true) {
      try {
        if (hwnas(folder, 'front', 'mine', '-f', 'json').length > 2) break;
      } catch {  // no front yet
        await new Promise((r) => setTimeout(r, 50));
      }
    }
    server = await serve(folder, '127.0.0.1:0');
    const port = new URL(server.url).port;
    const { page, context } = await openPage(browser, server.url, { allow: [server.url] });
    const count = () => page.evaluate(() => window.hwnas.app.run.size);
    const grows = async (from) => page.waitForFunction((n) => window.hwnas.app.run.size > n, from, { timeout: 60000 });  // of a machine that may be full
    const first = await count();
    await grows(first);
    server.child.kill('SIGKILL');
    await page.waitForFunction(() => document.querySelector('.status').textContent.startsWith('not connected'), null, { timeout: 15000 });
    const middle = await count();
    server = await serve(folder, `127.0.0.1:${port}`);
    await grows(middle);
    assert.match(await page.locator('.status').textContent(), /^live/);
    search.kill('SIGINT');
    await ended;
    await page.waitForTimeout(2600);
    // What came in pieces is what a reader of the files sees.
    const whole = JSON.parse(hwnas(folder, 'report', 'mine', '--data')).runs[0];
    const seen = await page.evaluate(() => ({ candidates: window.hwnas.app.run.candidates, front: window.hwnas.app.run.json.front }));
    assert.deepEqual(seen.candidates, whole.candidates);
    assert.deepEqual(seen.front, whole.front);
    server.child.kill('SIGTERM');
    await context.close();
  } finally {
    search.kill('SIGKILL');
    server?.child.kill('SIGKILL');
  }
});
