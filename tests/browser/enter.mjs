// Somebody enters tokens into the first page: node enter.mjs --chromium PATH URL WRONG GOOD
// Prints what the page shows after each step, as one JSON document.

import { parseArgs } from 'node:util';
import { launch } from './browser.mjs';

const { values, positionals: [url, wrong, good] } = parseArgs({
  allowPositionals: true,
  options: { chromium: { type: 'string', default: '/usr/bin/chromium' } },
});
const browser = await launch(values.chromium);
try {
  const page = await browser.newPage();
  const seen = async (...visible) => {
    for (const selector of visible) await page.locator(selector).waitFor({ state: 'visible', timeout: 15_000 });
    return page.evaluate(() => document.body.innerText);
  };
  const enter = async (token) => {
    await page.getByLabel('Token', { exact: true }).fill(token);
    await page.keyboard.press('Enter');
  };
  await page.goto(url);
  const steps = { first: await seen('#enter') };
  await enter(wrong);
  await page.locator('#message:not(:empty)').waitFor();
  steps.wrong = await seen('#enter', '#message');
  await enter(good);
  steps.good = await seen('#known', '#shops tr >> nth=0');
  steps.kept = [page.url(), await page.getByLabel('Token', { exact: true }).inputValue()];
  await page.reload();
  steps.again = await seen('#known', '#shops tr >> nth=0');
  await page.getByRole('button', { name: 'Forget the token' }).click();
  steps.forgotten = await seen('#enter');
  await page.reload();
  steps.reloaded = await seen('#enter');
  // Links that are opened where the page is shown already: no loading, only another `#`.
  await page.goto(`${url}#token=${encodeURIComponent('ecd_with…an ellipsis')}`);
  await page.locator('#message:not(:empty)').waitFor();
  steps.impossible = await seen('#enter', '#message', '#live.good');
  await page.goto(`${url}#token=${good}`);
  steps.linked = await seen('#known', '#shops tr >> nth=0');
  steps.address = page.url();
  // The API hangs: it is not shown as working for ever.
  await page.route('**/health', () => {});
  await page.locator('#live.bad').waitFor({ timeout: 25_000 });
  steps.hanging = await seen('#live.bad');
  await page.unroute('**/health');
  await page.locator('#live.good').waitFor({ timeout: 25_000 });
  // A late answer to the token before is not taken for one to this.
  await page.route('**/api/shops', async (route) => {
    if (route.request().headers().authorization.endsWith(wrong)) await new Promise((done) => setTimeout(done, 2_000));
    await route.continue();
  });
  await page.getByRole('button', { name: 'Forget the token' }).click();
  await enter(wrong);
  await enter(good);
  await page.waitForTimeout(3_000);
  steps.late = await seen('#known', '#shops tr >> nth=0');
  console.log(JSON.stringify(steps, null, 2));
} finally {
  await browser.close();
}
