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
  await page.goto(`${url}#token=${good}`);
  await page.reload();
  steps.linked = await seen('#known', '#shops tr >> nth=0');
  steps.address = page.url();
  console.log(JSON.stringify(steps, null, 2));
} finally {
  await browser.close();
}
