// Bundles the page: page.js (ECharts and our modules, minified, licences kept) and page.css.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? path.join(here, 'built');
await build({
  entryPoints: { page: path.join(here, 'page.js') },
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['chrome100', 'firefox100', 'safari15'],
  charset: 'ascii',
  legalComments: 'inline',
  outdir: out,
  define: { 'process.env.NODE_ENV': '"production"' },
});
await build({
  entryPoints: [path.join(here, 'page.css')],
  minify: true,
  charset: 'ascii',
  outdir: out,
});
