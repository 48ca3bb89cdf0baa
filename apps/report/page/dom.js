// Elements and numbers. Text from outside only ever becomes text nodes: nothing here writes HTML.

const svgTags = new Set(['svg', 'g', 'rect', 'line', 'path', 'circle', 'text', 'title', 'desc']);

/** h('p', {class: 'note', onclick: f}, 'text', child, [more]) */
export function h(tag, attributes = {}, ...children) {
  const inSvg = svgTags.has(tag.replace('svg:', '')) && (tag.startsWith('svg:') || tag === 'svg');
  const node = inSvg
    ? document.createElementNS('http://www.w3.org/2000/svg', tag.replace('svg:', ''))
    : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'value') node.value = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child instanceof Node ? child : String(child));
  }
}

export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

/** Four significant digits, no exponent where people would not write one. */
export function number(v) {
  if (v === null || v === undefined || Number.isNaN(v)) return '–';
  if (!Number.isFinite(v)) return v > 0 ? '∞' : '−∞';
  if (v === 0) return '0';
  const size = Math.abs(v);
  let text;
  if (size >= 1e15 || size < 1e-6) text = v.toExponential(3);
  else if (size >= 1e4) text = Math.round(v).toLocaleString('en-US').replaceAll(',', '\u202f');
  else text = String(Number(v.toPrecision(4)));
  return text.replace('-', '−');
}

/** 1234567 -> "1.235 M": for counts on axes and in headlines. */
export function short(v) {
  const steps = [[1e12, ' T'], [1e9, ' G'], [1e6, ' M'], [1e4, ' k', 1e3]];
  const size = Math.abs(v);
  for (const [from, unit, scale] of steps) if (size >= from) return number(v / (scale ?? from)) + unit;
  return number(v);
}

export function bytes(v) {
  if (v >= 1 << 20) return number(v / (1 << 20)) + ' MiB';
  return v >= 1024 ? number(v / 1024) + ' KiB' : number(v) + ' B';
}

export function percent(share) {
  return share === null || share === undefined ? '–' : number(100 * share) + ' %';
}

export function duration(ms) {
  if (ms < 1000) return number(ms) + ' ms';
  const s = ms / 1000;
  if (s < 120) return number(s) + ' s';
  return s < 7200 ? number(s / 60) + ' min' : number(s / 3600) + ' h';
}

/** A time of a session's unit as people read it. */
export function timed(value, unit) {
  if (unit === 'ns') return value >= 1e6 ? number(value / 1e6) + ' ms' : number(value / 1e3) + ' µs';
  return short(value) + ' ' + unit;
}

export function table(columns, rows, options = {}) {
  const head = h('tr', {}, columns.map((c) => h('th', { scope: 'col', class: c.number ? 'n' : null }, c.head)));
  const body = rows.map((row) =>
    h('tr', { class: options.rowClass?.(row), 'data-number': options.key?.(row) },
      columns.map((c) => h('td', { class: c.number ? 'n' : c.code ? 'code' : null }, c.cell(row)))));
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': options.label ?? 'Table' },
    h('table', {}, options.caption ? h('caption', {}, options.caption) : null, h('thead', {}, head),
      h('tbody', {}, body)));
}

/** A line of code with a button that copies it. */
export function copyable(text) {
  const button = h('button', {
    type: 'button', class: 'copy', onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
      } catch {  // no clipboard from file:// in some browsers: select the text instead
        const range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
      }
      button.textContent = 'copied';
      setTimeout(() => (button.textContent = 'copy'), 1500);
    },
  }, 'copy');
  const code = h('code', {}, text);
  return h('div', { class: 'copyable' }, code, button);
}
