// node shot.mjs REPORT.html OUT.png [width] [height] [light|dark] [full|pieces] [number to click]: a screenshot to look at.
import { openBrowser, openPage } from './browser.mjs';
import path from 'node:path';

const [file, out, width = 1280, height = 900, scheme = 'light', full = '', click = ''] = process.argv.slice(2);
const browser = await openBrowser();
const url = file.startsWith('http') ? file : `file://${path.resolve(file)}`;
const { page, problems } = await openPage(browser, url, { width: Number(width), height: Number(height), scheme, allow: [url] });
if (click) await page.evaluate((n) => window.hwnas.app.select(Number(n)), click);
if (full) await page.evaluate(() => { for (const f of window.hwnas.figures.values()) f.start(); });
await page.waitForTimeout(700);
if (full === 'pieces') {
  // Pieces of a long page, each of a size that can be looked at: OUT-0.png, OUT-1.png, …
  const piece = 1400, all = await page.evaluate(() => document.documentElement.scrollHeight);
  for (let i = 0; i * piece < all; ++i)
    await page.screenshot({ path: out.replace('.png', `-${i}.png`), fullPage: true, clip: { x: 0, y: i * piece, width: Number(width), height: Math.min(piece, all - i * piece) } });
} else await page.screenshot({ path: out, fullPage: full === 'full' });
console.log(problems.length ? problems.join('\n') : 'no problem');
await browser.close();
