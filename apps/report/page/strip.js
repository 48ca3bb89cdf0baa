// The architecture strip (picture 5): one box a kernel, the same rule as the program's own SVG.
import { h, number, short, timed } from './dom.js';

export const windowColours = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#8c8c8c'];
export const windowNames = ['1×1', '3×3', '5×5', '7×7', 'larger', 'linear, attention', 'no weights'];

export function colourOf(layer) {
  if (layer.kind === 'linear' || layer.kind === 'attention') return 5;
  if (!['conv', 'depthwise', 'patch_embed'].includes(layer.kind)) return 6;
  return layer.window > 7 ? 4 : Math.floor(layer.window / 2);
}

export function shape(s) {
  return s.join('×');
}

/** The share of the work that gives the width: measured time where every kernel has one, else MACs. */
export function workOf(layers, session) {
  const times = session >= 0 ? layers.map((l) => l.times[session]) : [];
  const measured = times.length > 0 && times.every((t) => t !== null && t !== undefined);
  return { values: measured ? times : layers.map((l) => l.macs), measured };
}

export function strip(layers, { session = -1, title, unit, tallest, width: room = 1200 } = {}) {
  const width = Math.max(280, room), base = 120, top = 26, { values, measured } = workOf(layers, session);
  const sum = values.reduce((a, b) => a + b, 0) || 1;
  const floor = (0.35 * width) / Math.max(layers.length, 1);
  const most = tallest ?? Math.max(...layers.map((l) => l.out[0]));
  const nodes = [];
  let x = 0;
  layers.forEach((layer, i) => {
    const w = floor + (0.65 * width * values[i]) / sum;
    const high = Math.max(3, (base - top - 8) * Math.sqrt(layer.out[0] / most));
    const cost = measured ? timed(values[i], unit) : `${short(layer.macs)} MACs`;
    nodes.push(h('svg:rect', { class: 'kernel', x: x.toFixed(2), y: (base - high).toFixed(2), width: w.toFixed(2), height: high.toFixed(2),
      fill: windowColours[colourOf(layer)] },
    h('svg:title', {}, `${layer.name}: ${layer.signature}, ${cost} (${number((100 * values[i]) / sum)} %)`)));
    if (i > 0 && layers[i - 1].stage !== layer.stage) {
      nodes.push(h('svg:line', { class: 'stage', x1: x.toFixed(2), x2: x.toFixed(2), y1: top - 8, y2: base + 5 }));
      if (layer.stage > 0) nodes.push(h('svg:text', { x: (x + 2).toFixed(2), y: base + 14 }, `stage ${layer.stage}`));
    }
    if (layer.stride > 1) nodes.push(h('svg:text', { class: 'stride', x: x.toFixed(2), y: top - 8 }, `↓${layer.out[1]}`));
    x += w;
  });
  return h('svg', { class: 'strip', viewBox: `0 0 ${width} ${base + 20}`, role: 'img', preserveAspectRatio: 'none',
    'aria-label': `${title ?? 'Architecture'}: ${layers.length} kernels; width is the share of the ${measured ? 'measured cost' : 'MACs'}` }, nodes);
}

export function legend() {
  return h('p', { class: 'key' }, windowNames.map((name, i) => {
    const box = h('span', { class: 'swatch' });
    box.style.background = windowColours[i];
    return h('span', {}, box, name);
  }), h('span', {}, 'height: channels · ↓ new resolution'));
}
