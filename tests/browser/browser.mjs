// Headless Chromium that talks to nobody but the pages it is sent to. It makes a fresh profile folder and takes it away again.

import { chromium } from 'playwright-core';

export const launch = (executablePath) => chromium.launch({
  executablePath,
  // As root it runs without a sandbox or not at all.
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
