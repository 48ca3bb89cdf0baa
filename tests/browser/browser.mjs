// Chromium for the page tests: no network but what a test allows, every console error collected.
import { chromium } from 'playwright-core';

export async function openBrowser() {
  return chromium.launch({
    executablePath: process.env.HWNAS_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking',
      '--disable-component-update', '--disable-default-apps', '--disable-sync', '--no-first-run'],
  });
}

/** A page that fails its test on any console error, unhandled rejection or request elsewhere. */
export async function openPage(browser, url, { width = 1280, height = 900, scheme = 'light', allow = [] } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  const problems = [];
  page.on('console', (m) => m.type() === 'error' && problems.push(`console: ${m.text()}`));
  page.on('pageerror', (e) => problems.push(`error: ${e.message}`));
  await context.route('**/*', (route) => {
    const to = route.request().url();
    if (to === url || allow.some((a) => to.startsWith(a))) return route.continue();
    problems.push(`request: ${to}`);
    return route.abort();
  });
  await page.goto(url);
  return { page, context, problems };
}
