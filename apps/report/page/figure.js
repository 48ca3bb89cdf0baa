// A picture with its title, words for screen readers, and a life: drawn when it comes into view, again when data,
// colours or width change.
import * as echarts from 'echarts/core';
import { BarChart, CustomChart, HeatmapChart, LineChart, ParallelChart, ScatterChart } from 'echarts/charts';
import {
  GridComponent, LegendComponent, MarkAreaComponent, MarkLineComponent, MarkPointComponent, ParallelComponent, TooltipComponent,
  VisualMapComponent,
} from 'echarts/components';
import { CanvasRenderer } from 'echarts/renderers';
import { h, replace } from './dom.js';

echarts.use([BarChart, CustomChart, HeatmapChart, LineChart, ParallelChart, ScatterChart, GridComponent,
  LegendComponent, MarkAreaComponent, MarkLineComponent, MarkPointComponent, ParallelComponent, TooltipComponent, VisualMapComponent,
  CanvasRenderer]);
export const instanceOf = (host) => echarts.getInstanceByDom(host);

export const figures = new Map();
let onPaper = false;

const names = ['bg', 'card', 'ink', 'muted', 'line', 'accent', 'blue', 'grey', 'green', 'orange', 'purple', 'sky'];

/** The page's colours, as the style sheet has them for the present scheme. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(names.map((n) => [n, style.getPropertyValue(`--${n}`).trim()]));
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries)
    if (entry.isIntersecting) {
      watcher.unobserve(entry.target);
      entry.target.figure.start();
    }
}, { rootMargin: '120px' });

const sizes = new ResizeObserver((entries) => {
  for (const entry of entries) entry.target.figure?.chart?.resize();
});

export class Figure {
  /** empty() says why there is no picture, or null; options(colours) gives ECharts' option. */
  constructor({ id, label, height = 340, empty = () => null, options, ready }) {
    this.id = id;
    this.empty = empty;
    this.options = options;
    this.ready = ready;
    this.label = label;
    this.host = h('div', { class: 'chart', role: 'img', 'data-chart': id });
    this.host.style.height = `${height}px`;
    this.note = h('p', { class: 'empty' });
    this.element = h('div', { class: 'figure' }, this.host, this.note);
    this.host.figure = this;
    figures.set(id, this);
    watcher.observe(this.host);
    sizes.observe(this.host);
  }
  /** Sections about searches are hidden where there is none. */
  get idle() { return !this.host.isConnected || this.host.closest('section').hidden; }
  start() {
    if (this.chart || this.host.hidden || this.idle) return;
    this.chart = echarts.init(this.host, null, { renderer: 'canvas' });
    this.ready?.(this.chart);
    this.draw();
  }
  draw() {
    if (this.idle) return;
    const why = this.empty();
    this.host.hidden = why !== null;
    replace(this.note, why ?? '');
    this.note.hidden = why === null;
    if (why !== null) return;
    this.host.setAttribute('aria-label', typeof this.label === 'function' ? this.label() : this.label);
    if (this.chart) this.chart.setOption(styled(this.options(palette())), { notMerge: true });
  }
  /** New data: the option is made again. */
  update() {
    const before = this.host.hidden;
    this.draw();
    if (before && !this.host.hidden) watcher.observe(this.host);
  }
  setHeight(px) {
    this.host.style.height = `${px}px`;
    this.chart?.resize();
  }
}

/** What all pictures share: font, colours of axes, tooltips made of elements. */
function styled(option) {
  const c = palette();
  const axis = {
    axisLine: { lineStyle: { color: c.muted } }, axisTick: { lineStyle: { color: c.muted } },
    axisLabel: { color: c.muted, hideOverlap: true }, splitLine: { lineStyle: { color: c.line } },
    nameTextStyle: { color: c.ink, fontSize: 12 },
  };
  const each = (a) => (a === undefined ? undefined : Array.isArray(a) ? a.map(each) : merge(axis, a));
  return {
    animation: false,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: c.ink },
    ...option,
    xAxis: each(option.xAxis), yAxis: each(option.yAxis),
    series: onPaper ? option.series.map((s) => ({ ...s, progressive: 0 })) : option.series,  // a printer waits for no frame
    tooltip: option.tooltip && {
      confine: true, backgroundColor: c.card, borderColor: c.line, textStyle: { color: c.ink, fontSize: 12 },
      ...option.tooltip,
    },
    legend: option.legend && {
      top: 0, right: 0, itemWidth: 14, itemHeight: 10, type: 'scroll', textStyle: { color: c.ink },
      inactiveColor: c.muted, pageTextStyle: { color: c.ink }, pageIconColor: c.ink, ...option.legend,
    },
  };
}

function merge(base, more) {
  const out = { ...base };
  for (const [key, value] of Object.entries(more)) {
    const both = value && base[key] && typeof value === 'object' && typeof base[key] === 'object' &&
      !Array.isArray(value);
    out[key] = both ? merge(base[key], value) : value;
  }
  return out;
}

/** A tooltip's content: a heading and lines of name and value, as elements. */
export function tip(heading, lines) {
  return h('div', { class: 'tip' }, h('b', {}, heading),
    h('dl', {}, lines.filter((l) => l).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)])));
}

export function redrawAll() {
  for (const figure of figures.values()) figure.update();
}

/** Every picture at once, in paper's width and colours and as one sharp image each, or back on the screen. */
export function drawForPaper(on) {
  onPaper = on;
  document.documentElement.classList.toggle('paper', on);
  for (const figure of figures.values()) {
    figure.host.querySelector('.print')?.remove();
    figure.start();
    figure.chart?.resize();
    figure.draw();
    if (!on || !figure.chart || figure.host.hidden || figure.idle) continue;
    const image = figure.chart.renderToCanvas({ pixelRatio: 3, backgroundColor: palette().card });
    image.className = 'print';
    image.removeAttribute('style');
    figure.host.append(image);
  }
}
