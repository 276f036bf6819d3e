// The first page: asks the API every few seconds, and writes what it answers.
'use strict';

const EVERY_MS = 3000;
const PATIENCE_MS = 10_000; // what does not answer for longer is told as away
const KEPT_AS = 'ecomdash-token'; // for this tab only
const EVENTS = 15;
const READERS = ['merchant', 'auditor']; // of figures
const TODAY = [
  ['orders', 'Orders'],
  ['net_sales', 'Net sales'],
  ['total_sales', 'Total sales'],
  ['average_order_value', 'Average order value'],
];

const part = (id) => document.getElementById(id);
// What the API answers is written as text, never as HTML.
const element = (name, text, kind) => {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const row = (...cells) => {
  const made = document.createElement('tr');
  made.append(...cells);
  return made;
};
const time = (instant) => {
  if (!instant) return element('td', 'nothing yet');
  const cell = document.createElement('td');
  const made = element('time', new Date(instant).toLocaleString());
  made.dateTime = instant;
  cell.append(made);
  return cell;
};
// Assistive technology tells what changes here, so what stays the same is left alone.
const write = (place, text, kind = '') => {
  if (place.textContent !== text) place.textContent = text;
  place.className = kind;
};

let token = sessionStorage.getItem(KEPT_AS) ?? '';
let asked = 0;

const ask = async (path, headers = {}) => {
  const answer = await fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) });
  const body = await answer.json().catch((fault) => {
    if (answer.ok) throw fault;
    return {}; // a proxy in front tells of a fault in its own words
  });
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? `answered ${answer.status}`), { status: answer.status });
  return body;
};

const showService = async () => {
  const [live, ready] = await Promise.allSettled([ask('/health'), ask('/health/ready')]);
  if (live.status === 'fulfilled') {
    write(part('live'), `answers, version ${live.value.version}, ${live.value.environment}`, 'good');
  } else {
    write(part('live'), 'does not answer', 'bad');
  }
  const states = {
    ready: ['answers, its schema is this build’s', 'good'],
    degraded: ['answers; Redis is away, so each process counts limits for itself', 'bad'],
  };
  const unknown = ['answers in words that this page does not know', 'bad'];
  const known = ready.status === 'fulfilled' ? states[ready.value.status] ?? unknown : [ready.reason.message, 'bad'];
  write(part('ready'), ...known);
};

const stateOf = (shop) => {
  if (shop.parked.length) return ['a read model is parked', 'bad'];
  if (shop.paused) return ['paused', 'bad'];
  return shop.installed ? ['works', 'good'] : ['uninstalled', ''];
};

const nameOf = (shop) => {
  const name = element('th', shop.domain);
  name.scope = 'row';
  return name;
};

// While a deploy runs, an older release may answer, which tells of no unreadable shops.
const showShops = ({ items, unreadable = [], next_cursor: next }) => {
  const rows = items.map((shop) => row(
    nameOf(shop),
    element('td', ...stateOf(shop)),
    element('td', shop.lag, 'number'),
    element('td', shop.as_of_position, 'number'),
    time(shop.as_of),
    element('td', shop.dead_letters, shop.dead_letters ? 'number bad' : 'number'),
    element('td', shop.timezone),
    element('td', shop.currency),
  ));
  const faults = unreadable.map((shop) => {
    const fault = element('td', shop.fault, 'bad');
    fault.colSpan = 7;
    return row(nameOf(shop), fault);
  });
  part('shops').replaceChildren(...faults, ...rows);
  part('more').hidden = !next;
  const events = items.flatMap((shop) => shop.last_events.map((event) => ({ ...event, shop: shop.domain })));
  events.sort((a, b) => (a.recorded_at < b.recorded_at ? 1 : -1));
  part('events').replaceChildren(...events.slice(0, EVENTS).map((event) => row(
    time(event.recorded_at),
    element('td', event.event_type),
    element('td', event.aggregate_type),
    element('td', event.position, 'number'),
    element('td', event.shop),
  )));
};

const showToday = (stats) => {
  part('today').hidden = !stats;
  if (stats === null) return;
  part('figures').replaceChildren(...TODAY.map(([name, label]) => {
    const value = stats.metrics[name];
    const text = value === null ? '–' : value.amount ? `${value.amount} ${value.currency}` : String(value);
    const pair = document.createElement('div');
    pair.append(element('dt', label), element('dd', text));
    return pair;
  }));
};

const forget = (why) => {
  token = '';
  sessionStorage.removeItem(KEPT_AS);
  part('known').hidden = true;
  part('enter').hidden = false;
  write(part('message'), why);
};

const look = async () => {
  const number = ++asked;
  await showService();
  if (token) {
    try {
      const headers = { Authorization: `Bearer ${token}` };
      const shops = await ask('/api/shops', headers);
      const stats = READERS.includes(shops.role) ? await ask('/api/dashboard/stats', headers) : null;
      if (number !== asked || !token) return;
      showToday(stats);
      showShops(shops);
      part('enter').hidden = true;
      part('known').hidden = false;
      write(part('message'), '');
    } catch (error) {
      if (number !== asked) return; // of an earlier token
      if (error.status === 401) forget('This token is not good: unknown, expired or revoked.');
      else write(part('message'), `Not asked: ${error.message}`);
    }
  }
};

const goOn = async () => {
  try {
    if (!document.hidden) await look();
  } finally {
    setTimeout(goOn, EVERY_MS);
  }
};

const use = (text) => {
  const given = text.trim();
  // Nothing else can stand in a header.
  if (!/^[!-~]+$/.test(given)) {
    forget('This is not a token.');
    return;
  }
  token = given;
  sessionStorage.setItem(KEPT_AS, token);
};

// A link may bring a token behind `#`, which browsers send to nobody; it does not stay in the address.
const takeFromAddress = () => {
  const brought = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!brought) return;
  use(brought);
  history.replaceState(null, '', location.pathname);
};
takeFromAddress();
addEventListener('hashchange', () => {
  takeFromAddress();
  look();
});
part('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  use(part('token').value);
  part('token').value = '';
  look();
});
part('forget').addEventListener('click', () => {
  forget('');
  part('token').focus();
});
goOn();
