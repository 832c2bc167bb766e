// Makes the pictures of the documentation: `node tests/pictures.mjs FOLDER`. Shows the page of a made-up company.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

import { deployment, list, startBed, startBrowser } from './bed.mjs';

const [folder] = process.argv.slice(2);
const NOW = Date.now();
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Always the same numbers.
let seed = 7;
const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
const pick = (from) => from[Math.floor(random() * from.length)];
const iso = (at) => new Date(at).toISOString();

const TEAMS = {
  shop: ['web', 'cart', 'checkout', 'search', 'recommendations', 'images', 'prices'],
  payments: ['gateway', 'ledger', 'fraud', 'invoices', 'refunds'],
  identity: ['login', 'sessions', 'profiles', 'audit'],
  delivery: ['routes', 'tracking', 'labels', 'returns', 'couriers'],
  platform: ['mailer', 'scheduler', 'webhooks', 'exports', 'reports', 'flags'],
};
const TARGETS = Object.entries(TEAMS).flatMap(([namespace, names]) => names.map((name) => ({ namespace, name, count: 2 + Math.floor(random() * 7) })));
const UNMANAGED = [['platform', 'docs'], ['delivery', 'playground'], ['shop', 'load-test']];
const PEOPLE = ['alice', 'bob', 'carla'];
const MANAGERS = ['helm', 'helm', 'helm', 'kubectl', 'kubectl', 'argocd-controller', 'flux', 'keda-operator'];
const REASONS = ['ready for the sale', 'halved after the migration', 'three zones', 'load test of Tuesday'];

const manager = (name) => ({ manager: { manager: name, operation: 'Update', ...(name === 'kubectl' && { subresource: 'scale' }) } });

/** What happened in the last week, in the order of time. */
function past() {
  const entries = [];
  for (const { namespace, name, count } of TARGETS) {
    const target = `${namespace}/${name}`;
    const before = Math.max(1, count - 2);
    const set = (at, from, to) => entries.push({ at, target, what: 'set', generation: from ? 2 : 1, from, to, author: { user: pick(PEOPLE) }, reason: pick(REASONS) });
    const changed = NOW - 3 * DAY + random() * DAY;
    set(NOW - 6.6 * DAY + random() * 8 * HOUR, null, before);
    set(changed, before, count);
    const drifts = name === 'web' ? 26 : Math.floor(random() ** 3 * 16);
    for (let index = 0; index < drifts; index++) {
      let at = NOW - random() * 6 * DAY;
      // Mostly in working hours.
      if (random() < 0.8) at = new Date(at).setHours(9 + Math.floor(random() * 9), random() * 60);
      if (at > NOW - HOUR) continue;
      const desired = at < changed ? before : count;
      const to = Math.max(0, desired + pick([-2, -1, 1, 2, 3, 4]));
      const author = manager(pick(MANAGERS));
      entries.push({ at, target, what: 'drifted', generation: 2, from: desired, to, author, times: index + 1 });
      const took = { secs: 0, nanos: 3_000_000 + Math.floor(random() * 4_000_000) };
      entries.push({ at: at + 8 + random() * 60, target, what: 'repaired', generation: 2, from: to, to: desired, author, took, pods_lost: to < desired && random() < 0.3 ? 1 : 0 });
    }
  }
  entries.sort((one, other) => one.at - other.at);
  return entries.map(({ at, ...entry }, index) => {
    const json = JSON.stringify({ id: index + 1, at: iso(at), ...entry });
    return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
  });
}

async function prepare(files) {
  const settings = TARGETS.map(({ namespace, name, count }) => ({
    name, namespace, replicas: count, generation: 2, setBy: pick(PEOPLE), setAt: iso(NOW - 2 * DAY), reason: pick(REASONS),
  }));
  settings.push({ name: 'old-api', namespace: 'platform', replicas: 2 });
  await writeFile(files.settings, JSON.stringify(settings));
  await writeFile(files.history, past().join(''));
}

/** Lets it happen: workloads, a fight, a drift that is ignored. */
async function play(bed) {
  for (const namespace of Object.keys(TEAMS)) if (namespace !== bed.namespace) await bed.kubectl(['create', 'namespace', namespace]);
  const all = [...TARGETS.map(({ namespace, name, count }) => [namespace, name, count]), ...UNMANAGED.map((names) => [...names, 1])];
  await bed.kubectl(['apply', '-f', '-'], list(all.map((target) => deployment(...target))));
  const status = (replicas) => JSON.stringify({ status: { replicas, readyReplicas: replicas, availableReplicas: replicas, updatedReplicas: replicas } });
  for (const [namespace, name, count] of all) {
    await bed.kubectl(['patch', 'deployment', name, '-n', namespace, '--subresource=status', '--type=merge', '-p', status(count)]);
  }
  for (let round = 0; round < 14; round++) {
    await bed.kubectl(['scale', 'deployment', 'checkout', '-n', 'shop', '--replicas=12']);
    await new Promise((resolve) => setTimeout(resolve, 350));
  }
  await bed.kubectl(['scale', 'deployment', 'gateway', '-n', 'payments', '--replicas=9']);
}

const files = await mkdtemp(join(tmpdir(), 'pictures-'));
const start = { settings: join(files, 'replicas.json'), history: join(files, 'history') };
await prepare(start);
const [bed, browser] = await Promise.all([startBed(start), startBrowser()]);
try {
  await play(bed);
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ viewport: { width: 1240, height: 780 }, deviceScaleFactor: 1, colorScheme, locale: 'en-GB' });
    const page = await context.newPage();
    const shoot = (name) => page.screenshot({ path: join(folder, `page-${name}-${colorScheme}.png`) });
    await page.goto(bed.url);
    await page.locator('.authors li').first().waitFor();
    await page.getByRole('row').nth(10).waitFor();
    await shoot('overview');
    const open = async (name) => {
      await page.getByPlaceholder('Filter by name').fill(name);
      await page.getByRole('row').filter({ hasText: name.split('/').at(-1) }).first().click();
      await page.locator('.timeline .excursion').first().waitFor();
    };
    await open('shop/web');
    await page.getByPlaceholder('Filter by name').fill('shop');
    await page.getByRole('heading', { name: 'web', exact: true }).focus();
    await shoot('details');
    await open('shop/checkout');
    await page.getByPlaceholder('Filter by name').fill('shop');
    await page.getByRole('heading', { name: 'The conflict' }).scrollIntoViewIfNeeded();
    await page.locator('.fight').scrollIntoViewIfNeeded();
    await shoot('conflict');
    await page.getByRole('button', { name: 'Set…' }).click();
    await page.getByLabel('Count', { exact: true }).fill('10');
    await page.getByLabel('Reason').fill('twice the usual for the sale');
    await page.locator('.preview .change').waitFor();
    await shoot('set');
    await context.close();
  }
} finally {
  await browser.close();
  await bed.end();
  await rm(files, { recursive: true });
}
