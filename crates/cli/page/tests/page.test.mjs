// The page in a real browser, on a real server and a real API server.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer, request } from 'node:http';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { deployment, list, startBed, startBrowser } from './bed.mjs';

const MANY = 10_000;
/** Frames in a second. */
const MIN_RATE = 50;
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const BUILT = fileURLToPath(new URL('../built/', import.meta.url));

let bed;
let browser;
let context;
let page;
let folder;
/** Errors of the page, among them what its policy forbids. */
const problems = [];
/** Every address that the page has asked for. */
const asked = new Set();

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'page-'));
  const settings = join(folder, 'replicas.json');
  const entries = Array.from({ length: MANY }, (_, index) => ({
    name: `service-${String(index).padStart(5, '0')}`,
    namespace: `bulk-${index % 20}`,
    replicas: index % 9,
  }));
  await writeFile(settings, JSON.stringify(entries));
  [bed, browser] = await Promise.all([startBed({ settings }), startBrowser()]);
  await bed.kubectl(['create', 'namespace', 'other']);
  const names = [['shop', 'web'], ['shop', 'cart'], ['other', 'secret']];
  await bed.kubectl(['apply', '-f', '-'], list(names.map(([namespace, name]) => deployment(namespace, name, 3))));
  context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  page = await context.newPage();
  page.on('request', (request) => asked.add(new URL(request.url()).origin));
  page.on('pageerror', (error) => problems.push(error.message));
  // Chromium reports refused and interrupted calls there, too.
  const isCall = (text) => text.startsWith('Failed to load resource');
  page.on('console', (message) => message.type() === 'error' && !isCall(message.text()) && problems.push(message.text()));
});

after(async () => {
  await browser?.close();
  await bed?.end();
  await rm(folder, { recursive: true });
});

beforeEach(async () => {
  await page.goto('about:blank');
  await page.goto(bed.url);
  await page.getByText('Live', { exact: true }).waitFor();
});

const filter = (text) => page.getByPlaceholder('Filter by name').fill(text);
const row = (name) => page.getByRole('row').filter({ hasText: name });
const button = (name) => page.getByRole('button', { name, exact: true });

async function open(name) {
  await filter(name);
  await row(name).click();
  await page.getByRole('heading', { name, exact: true }).waitFor();
}

/** Sets a count in the page. */
async function set(name, count, preview) {
  await open(name);
  await button('Set…').click();
  await page.getByLabel('Count', { exact: true }).fill(String(count));
  await page.getByLabel('Reason').fill('because of a test');
  await page.locator('.preview', { hasText: preview }).waitFor();
  await button(`Set ${count}`).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

async function eventually(what, condition) {
  const end = Date.now() + 10_000;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > end) assert.fail(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const count = async (name) => Number(await bed.kubectl(['get', 'deployment', name, '-n', 'shop', '-o', 'jsonpath={.spec.replicas}']));
const scale = (name, replicas) => bed.kubectl(['scale', 'deployment', name, '-n', 'shop', `--replicas=${replicas}`]);

test('a Set in the page is stored with its reason, and enforced', async () => {
  await set('web', 5, '– → 5');
  await eventually('the cluster follows', async () => (await count('web')) === 5);
  await row('In sync').filter({ hasText: 'web' }).waitFor();
  assert.match(await page.locator('.facts').innerText(), /by client, just now\s+because of a test/);
  await scale('web', 2);
  await eventually('the count is put back', async () => (await count('web')) === 5);
});

test('a drift shows within 250 ms of its repair, with its author', async () => {
  await open('web');
  const repairs = [];
  let last;
  const stop = bed.follow('shop', 'web', (replicas, at) => {
    if (last !== undefined && last !== 5 && replicas === 5) repairs.push(at);
    last = replicas;
  });
  await eventually('the count is watched', () => last === 5);
  const delays = [];
  for (const round of [1, 2, 3]) {
    const shown = page.evaluate(
      (round) =>
        new Promise((resolve, reject) => {
          setTimeout(reject, 10_000, new Error('not shown within 10 s'));
          const look = () => {
            const found = (what) => document.querySelectorAll(`.detail .history li[data-what="${what}"][data-by="kubectl"]`).length;
            const isShown = found('DRIFTED') > round && found('REPAIRED') > round;
            if (isShown) requestAnimationFrame(() => resolve(Date.now()));
            return isShown;
          };
          const observer = new MutationObserver(() => look() && observer.disconnect());
          if (!look()) observer.observe(document.body, { childList: true, subtree: true });
        }),
      round,
    );
    await scale('web', 6 + round);
    const at = await shown;
    await eventually('the repair is seen', () => repairs.length === round);
    delays.push(at - repairs[round - 1]);
  }
  stop();
  console.log(`# shown after the repair: ${delays.join(', ')} ms`);
  assert.ok(Math.max(...delays) < 250, `${delays} ms`);
  const drift = page.locator('.detail .history li[data-what="DRIFTED"]').first();
  assert.match(await drift.innerText(), /Drifted 5 → 9 by kubectl \(Update of scale\)/);
  await page.locator('.last-drift', { hasText: '5 → 9 by kubectl' }).waitFor();
});

test('Undo, Ignore and Enforce show what they do before they do it', async () => {
  await set('web', 4, '5 → 4');
  await button('Undo…').click();
  await page.locator('.preview', { hasText: 'Desired 4 → 5' }).waitFor();
  await button('Undo').click();
  await eventually('the cluster follows', async () => (await count('web')) === 5);

  await button('Ignore…').click();
  await page.getByLabel('30 minutes').check();
  await page.locator('.preview', { hasText: 'then enforced again' }).waitFor();
  await button('Ignore').click();
  await page.getByText('Ignored until', { exact: false }).first().waitFor();
  await scale('web', 1);
  await page.locator('.detail .state', { hasText: 'Ignored' }).waitFor();
  assert.equal(await count('web'), 1);

  await button('Enforce…').click();
  await page.locator('.preview', { hasText: 'The cluster has 1, and is put back to 5' }).waitFor();
  await button('Enforce').click();
  await eventually('the count is put back', async () => (await count('web')) === 5);
  await page.locator('.detail .state', { hasText: 'In sync' }).waitFor();
});

test('a temporary count is shown with its end, and undone before it', async () => {
  await open('web');
  await button('Set…').click();
  await page.getByLabel('Count', { exact: true }).fill('7');
  await page.getByLabel('How long').selectOption('2 hours');
  await page.locator('.preview', { hasText: 'then 5 is in force again' }).waitFor();
  await button('Set 7').click();
  await eventually('the cluster follows', async () => (await count('web')) === 7);
  await page.locator('.facts', { hasText: /Temporary\s*until [0-9:, A-Za-z]+, then 5 again/ }).waitFor();
  await button('Undo…').click();
  await page.locator('.preview', { hasText: 'Desired 7 → 5' }).waitFor();
  await button('Undo').click();
  await eventually('the cluster follows', async () => (await count('web')) === 5);
});

test('a refused Set is explained and changes nothing', async () => {
  await open('web');
  await button('Set…').click();
  await page.getByLabel('Count', { exact: true }).fill('1000000');
  await page.locator('.preview.refused', { hasText: '1000' }).waitFor();
  assert.ok(await page.locator('dialog .primary').isDisabled());
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal(await count('web'), 5);
});

test('the keyboard is enough', async () => {
  await page.keyboard.press('/');
  await page.keyboard.type('shop cart');
  await page.keyboard.press('Tab');
  await page.getByRole('grid').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'cart' }).waitFor();
  await page.waitForFunction(() => document.activeElement?.textContent === 'cart');
  await page.keyboard.press('s');
  await page.getByRole('dialog').waitFor();
  assert.ok(await page.getByLabel('Count', { exact: true }).evaluate((input) => input === document.activeElement));
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.keyboard.press('Escape');
  await page.getByRole('heading', { name: 'Who drifts most' }).waitFor();
});

/** Scrolls the table by half a screen in each frame for two seconds. Returns frames in a second, and the time of the
    page's thread for each of them in milliseconds. */
async function scroll(session) {
  const spent = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value * 1000;
  };
  const before = await spent();
  const [frames, took] = await page.evaluate(async () => {
    const table = document.querySelector('.table');
    const start = performance.now();
    let frames = 0;
    while (performance.now() - start < 2000) {
      await new Promise(requestAnimationFrame);
      table.scrollTop += 350;
      frames++;
    }
    return [frames, performance.now() - start];
  });
  return { rate: (1000 * frames) / took, perFrame: ((await spent()) - before) / frames };
}

test('ten thousand rows scroll, sort and filter without lag', async () => {
  await page.locator('.states button', { hasText: 'All' }).getByText((MANY + 3).toLocaleString('en')).waitFor();
  const session = await context.newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  let best = { rate: 0, perFrame: Infinity };
  for (let attempt = 0; attempt < 5 && best.rate < MIN_RATE; attempt++) {
    const next = await scroll(session);
    if (next.rate > best.rate) best = next;
  }
  console.log(`# ${best.rate.toFixed(1)} frames a second, ${best.perFrame.toFixed(1)} ms of the page's thread for each`);
  assert.ok(best.perFrame < 1000 / MIN_RATE, `${best.perFrame} ms`);
  // Without a graphics card, drawing takes the processors that others use, too.
  const isBusy = loadavg()[0] > 2 * cpus().length;
  if (best.rate < MIN_RATE && isBusy) console.log('# NOT TESTED: frames a second, because the machine is busy');
  else assert.ok(best.rate >= MIN_RATE, `${best.rate} frames a second`);
  const rows = await page.getByRole('row').count();
  assert.ok(rows < 100, `${rows} rows are in the document`);
  const took = await page.evaluate(async () => {
    const start = performance.now();
    const head = [...document.querySelectorAll('[role=columnheader] button')].find((head) => head.textContent === 'Name');
    head.click();
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
  });
  console.log(`# sorted in ${took.toFixed(0)} ms`);
  assert.ok(took < 250, `${took} ms`);
  await filter('service-09999');
  await row('service-09999').waitFor();
  assert.equal(await page.getByRole('grid').getAttribute('aria-rowcount'), '2');
});

test('a user with rights for one namespace sees nothing of others', async () => {
  const limited = await context.newPage();
  await limited.goto(bed.restricted);
  await limited.getByText('cannot watch resource "replicacounts"').waitFor();
  await limited.getByLabel('Show only the namespace').fill('shop');
  await limited.getByRole('button', { name: 'Show' }).click();
  await limited.getByRole('row').filter({ hasText: 'web' }).waitFor();
  assert.equal(await limited.getByRole('grid').getAttribute('aria-rowcount'), '3');
  assert.doesNotMatch(await limited.locator('body').innerText(), /secret|bulk|service-/);
  const answers = await limited.evaluate(async () => {
    const token = new URLSearchParams(location.search).get('token');
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` };
    const call = async (name, body) => (await fetch(`/api/${name}`, { method: 'POST', headers, body: JSON.stringify(body) })).json();
    const target = { namespace: 'other', name: 'secret', kind: 'Deployment' };
    return Promise.all([call('target', target), call('events', { target }), call('recent', { namespace: '' }), call('drifts', { namespace: 'other', since: 0 })]);
  });
  for (const answer of answers) assert.equal(answer.code, 'PermissionDenied', JSON.stringify(answer));
  await limited.close();
});

/** The status of a request by another program. */
function send(path, { method = 'POST', ...headers }) {
  const { hostname, port } = new URL(bed.url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers }, (response) => resolve(response.resume().statusCode));
    sent.on('error', reject).end(method === 'POST' ? '{}' : '');
  });
}

test('attacks are forbidden', async () => {
  const { host, origin, searchParams } = new URL(bed.url);
  const right = { Host: host, Origin: origin, Authorization: `Bearer ${searchParams.get('token')}`, 'Content-Type': 'application/json' };
  assert.equal(await send('/api/about', right), 200);
  const evil = 'http://evil.example';
  for (const headers of [
    { ...right, Authorization: `Bearer ${'0'.repeat(64)}` },
    { ...right, Authorization: '' },
    { ...right, Host: 'evil.example' },
    { ...right, Host: `evil.example:${host.split(':')[1]}` },
    { ...right, Origin: evil },
    { ...right, Origin: 'null' },
    { ...right, 'Sec-Fetch-Site': 'cross-site' },
    { ...right, method: 'OPTIONS', Origin: evil, 'Access-Control-Request-Headers': 'authorization' },
  ]) {
    assert.equal(await send('/api/about', headers), 403, JSON.stringify(headers));
  }
  for (const path of ['/', '/?token=wrong', '/?ticket=wrong']) {
    assert.equal(await send(path, { method: 'GET', Host: host }), 403, path);
  }
  assert.equal(await send(`/?token=${searchParams.get('token')}`, { method: 'GET', Host: 'evil.example' }), 403);
});

test('another web site can neither call the server nor show the page', async (t) => {
  const { href, origin, searchParams } = new URL(bed.url);
  // It even knows the token.
  const site = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<body>A web site')).listen(0, '127.0.0.1');
  await new Promise((resolve) => site.once('listening', resolve));
  const visitor = await browser.newPage();
  t.after(() => visitor.close().then(() => site.closeAllConnections()).then(() => site.close()));
  const statuses = [];
  visitor.on('response', (response) => response.url().startsWith(origin) && statuses.push([response.url(), response.status()]));
  await visitor.goto(`http://127.0.0.1:${site.address().port}/`);
  const outcomes = await visitor.evaluate(
    async ({ href, origin, token }) => {
      const outcome = async (attempt) => {
        try {
          return await attempt();
        } catch {
          return 'refused';
        }
      };
      const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` };
      const loads = (tag, attribute, url) =>
        new Promise((resolve, reject) => {
          const element = document.createElement(tag);
          Object.assign(element, { [attribute]: url, onload: () => resolve(`${tag} loaded`), onerror: reject });
          document.body.append(element);
        });
      return Promise.all([
        outcome(async () => (await fetch(`${origin}/api/about`, { method: 'POST', headers, body: '{}' })).text()),
        outcome(async () => (await fetch(`${origin}/api/about`, { method: 'POST', mode: 'no-cors', body: '{}' })).text()),
        outcome(async () => (await fetch(href)).text()),
        outcome(() => loads('script', 'src', `${origin}/page.js`)),
        outcome(() => loads('img', 'src', `${origin}/icon.svg`)),
      ]);
    },
    { href, origin, token: searchParams.get('token') },
  );
  for (const outcome of outcomes) assert.ok(outcome === 'refused' || outcome === '', JSON.stringify(outcomes));
  await visitor.evaluate((href) => {
    const frame = document.createElement('iframe');
    frame.src = href;
    document.body.append(frame);
    return new Promise((resolve) => (frame.onload = frame.onerror = resolve));
  }, href);
  const shown = await visitor.frames()[1].evaluate(() => document.body.innerText);
  assert.match(shown, /127\.0\.0\.1 (is blocked|refused to connect)/);
  for (const [url, status] of statuses) assert.ok(status === 403 || url === href, `${url} ${status}`);
});

test('after a restart of the server the page goes on, and so does a reload', async () => {
  await set('cart', 3, '– → 3');
  const history = page.locator('.detail .history li');
  await page.locator('.detail .state', { hasText: 'In sync' }).waitFor();
  const before = await history.count();
  const lost = page.getByText('Not connected').waitFor();
  await Promise.all([bed.restart(), lost]);
  await page.getByText('Live', { exact: true }).waitFor();
  await scale('cart', 8);
  await eventually('the drift shows', async () => (await history.count()) >= before + 2);
  assert.equal(await history.first().getAttribute('data-what'), 'REPAIRED');
  await page.reload();
  await page.getByRole('heading', { name: 'cart' }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  await page.locator('.detail .history li[data-what="REPAIRED"]').first().waitFor();
});

test('there are no serious violations of accessibility', async () => {
  await set('web', 6, '→ 6');
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.goto('about:blank');
    await page.goto(bed.url);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.locator('.heat').waitFor();
    await check(`the overview, ${colorScheme}`);
    await open('web');
    await page.locator('.detail .history li').first().waitFor();
    await check(`the details, ${colorScheme}`);
    for (const action of ['Set…', 'Ignore…', 'Undo…']) {
      await button(action).click();
      await page.locator('.preview p').first().waitFor();
      await check(`${action}, ${colorScheme}`);
      await button('Cancel').click();
    }
  }
  await page.emulateMedia({ colorScheme: null });
});

async function check(what) {
  // The policy of the page allows no script of others, but the debugger is not bound by it.
  await page.evaluate(await readFile(AXE, 'utf8'));
  const { violations } = await page.evaluate(() => window.axe.run(document));
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const shown = serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(shown, [], what);
}

test('the page is small, loads nothing from elsewhere and has no errors', async () => {
  assert.deepEqual(problems, []);
  assert.deepEqual([...asked].filter((origin) => origin !== 'null'), [new URL(bed.url).origin]);
  const files = await readdir(BUILT);
  const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(join(BUILT, file))).length));
  const size = sizes.reduce((one, other) => one + other);
  console.log(`# ${(size / 1000).toFixed(1)} kB compressed`);
  assert.ok(size <= 150_000, `${size} bytes`);
});
