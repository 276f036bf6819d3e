// What a browser sees of pages: node look.mjs --chromium /usr/bin/chromium --out DIR URL...
// Prints one JSON document and judges nothing: it fails only where it could not look.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import axe from 'axe-core';
import { launch } from './browser.mjs';

const LOOKS = ['desktop', 'mobile'].flatMap((device) =>
  ['light', 'dark'].map((colorScheme) => ({ device, colorScheme, name: `${device}-${colorScheme}` })));
const DEVICES = {
  desktop: { viewport: { width: 1280, height: 800 } },
  // As a phone: a page that names no viewport is laid out 980 wide there, and only there.
  mobile: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
};
const RULES = ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'];
const LOAD_MS = 30_000;
// A page that polls never falls silent.
const SETTLE_MS = 8_000;
const MOST_TABS = 400;

const { values, positionals: urls } = parseArgs({
  allowPositionals: true,
  options: { chromium: { type: 'string', default: '/usr/bin/chromium' }, out: { type: 'string' } },
});
if (!values.out || urls.length === 0) {
  console.error('usage: node look.mjs [--chromium PATH] --out DIR URL...');
  process.exit(2);
}

await mkdir(values.out, { recursive: true });
const browser = await launch(values.chromium);
try {
  const seen = [];
  for (const [index, url] of urls.entries()) {
    seen.push(await lookAt(url, index));
  }
  console.log(JSON.stringify(seen, null, 2));
} finally {
  await browser.close();
}

async function lookAt(url, index) {
  const events = { console: [], failed: [], foreign: [] };
  const report = { url, title: '', text: '', settled: true, axe: [], overflow: false, focus: {}, screenshots: [] };
  for (const look of LOOKS) {
    const context = await browser.newContext({ ...DEVICES[look.device], colorScheme: look.colorScheme });
    const page = await context.newPage();
    const stopListening = listen(page, new URL(url).host, events);
    await page.goto(url, { waitUntil: 'load', timeout: LOAD_MS });
    report.settled &&= await page.waitForLoadState('networkidle', { timeout: SETTLE_MS }).then(() => true, () => false);
    report.title = await page.title();
    report.text = await page.evaluate(() => document.body.innerText);

    const screenshot = join(values.out, `${index}${new URL(url).pathname.replace(/\W+/g, '-')}-${look.name}.png`);
    await page.screenshot({ path: screenshot, fullPage: true });
    report.screenshots.push(screenshot);
    report.axe.push(...(await runAxe(page)).map((finding) => ({ look: look.name, ...finding })));
    if (look.device === 'mobile') {
      const { width } = DEVICES.mobile.viewport;
      report.overflow ||= await page.evaluate((most) => document.documentElement.scrollWidth > most, width);
    }
    if (look.device === 'desktop') {
      report.focus[look.colorScheme] = await tabThrough(page);
    }
    stopListening();
    await context.close();
  }
  for (const [kind, told] of Object.entries(events)) {
    // Every look loads the page anew and tells the same.
    report[kind] = [...new Map(told.map((event) => [JSON.stringify(event), event])).values()];
  }
  return report;
}

function listen(page, ownHost, events) {
  let listening = true;
  const note = (kind, event) => listening && events[kind].push(event);
  const noteIfForeign = (address) => {
    const { protocol, host } = new URL(address);
    if (/^(http|ws)s?:$/.test(protocol) && host !== ownHost) {
      note('foreign', address);
    }
  };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) {
      note('console', { type: message.type(), text: message.text(), at: message.location().url });
    }
  });
  page.on('pageerror', (error) => note('console', { type: 'pageerror', text: String(error), at: page.url() }));
  page.on('request', (request) => noteIfForeign(request.url()));
  page.on('websocket', (socket) => noteIfForeign(socket.url()));
  page.on('requestfailed', (request) =>
    note('failed', { method: request.method(), url: request.url(), why: request.failure()?.errorText }));
  page.on('response', (response) => {
    if (response.status() >= 400) {
      note('failed', { method: response.request().method(), url: response.url(), why: `${response.status()}` });
    }
  });
  // Closing a page ends its requests, which is no failure of the page.
  return () => { listening = false; };
}

async function runAxe(page) {
  await page.evaluate(axe.source);
  return page.evaluate(async (rules) => {
    // Without `preload: false` axe asks for style sheets, and the requests would count as the page's.
    const { violations } = await window.axe.run({ runOnly: rules, resultTypes: ['violations'], preload: false });
    return violations.map(({ id, impact, help, nodes }) =>
      ({ id, impact, help, nodes: nodes.map(({ target }) => target.flat().join(' ')) }));
  }, RULES);
}

/** Tab by Tab, until the focus leaves the page or is where it has been. */
async function tabThrough(page) {
  const walk = await page.evaluateHandle(() => ({ reached: [], invisible: [], last: null }));
  let step = { ended: false, trapped: false };
  for (let tabs = 0; tabs < MOST_TABS && !step.ended; tabs += 1) {
    await page.keyboard.press('Tab');
    step = await walk.evaluate((walk) => {
      document.getAnimations().filter((each) => each instanceof CSSTransition).forEach((each) => each.finish());
      if (walk.last) {
        // A shadow that stays when the focus has gone does not show the focus.
        const shadowMarks = getComputedStyle(walk.last.element).boxShadow !== walk.last.shadow;
        if (!walk.last.outlined && !shadowMarks) {
          walk.invisible.push(walk.last.element);
        }
      }
      const element = document.activeElement;
      const left = element === null || element === document.body;
      if (left || walk.reached.includes(element)) {
        return { ended: true, trapped: !left && element !== walk.reached[0] };
      }
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
      walk.last = { element, shadow: boxShadow, outlined: outlineStyle !== 'none' && parseFloat(outlineWidth) > 0 };
      walk.reached.push(element);
      return { ended: false, trapped: false };
    });
  }
  const { ended, trapped } = step;
  return { ended, trapped, ...(await walk.evaluate(({ reached, invisible }) => {
    const describe = (element) => [
      element.localName, element.id && `#${element.id}`, ...[...element.classList].map((name) => `.${name}`),
      ` "${(element.ariaLabel ?? element.textContent).trim().replace(/\s+/g, ' ').slice(0, 60)}"`,
    ].join('');
    const missed = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
      .filter((element) => element.tabIndex >= 0 && !element.disabled && element.type !== 'radio'
        && !element.closest('[inert]') && element.checkVisibility({ visibilityProperty: true })
        && !reached.includes(element));
    return { reached: reached.length, invisible: invisible.map(describe), missed: missed.map(describe) };
  })) };
}
