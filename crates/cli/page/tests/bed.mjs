// A control plane, a server and pages for tests and pictures, and a browser. `make build` builds what is started here.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const TESTBED = `${process.env.CARGO_TARGET_DIR ?? `${ROOT}target`}/debug/testbed`;
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Starts everything. `settings` and `history` are files that the server begins with. */
export async function startBed({ settings, history } = {}) {
  const files = [['--settings', settings], ['--history', history]].flatMap(([flag, file]) => (file ? [flag, file] : []));
  const child = spawn(TESTBED, ['page', ...files], { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the testbed has ended');
    return JSON.parse(value);
  };
  const facts = await next();
  const kubectl = (args, input = '') =>
    new Promise((resolve, reject) => {
      const options = { env: { ...process.env, KUBECONFIG: facts.kubeconfig } };
      const run = execFile(facts.kubectl, args, options, (error, stdout) => (error ? reject(error) : resolve(stdout)));
      run.stdin.end(input);
    });
  return {
    ...facts,
    kubectl,
    /** Writes a line per change of a count, with the time at which it was seen. */
    follow(namespace, name, changed) {
      const args = ['get', 'deployment', name, '-n', namespace, '--watch', '-o', 'jsonpath={.spec.replicas}{"\\n"}'];
      const watch = spawn(facts.kubectl, args, { env: { ...process.env, KUBECONFIG: facts.kubeconfig } });
      createInterface({ input: watch.stdout }).on('line', (line) => changed(Number(line), Date.now()));
      return () => watch.kill();
    },
    async restart() {
      child.stdin.write('restart\n');
      await next();
    },
    async end() {
      child.stdin.end();
      await new Promise((resolve) => child.once('exit', resolve));
    },
  };
}

/** A Deployment of one container, as a manifest. */
export function deployment(namespace, name, replicas) {
  const labels = { app: name };
  const containers = [{ name: 'pause', image: 'registry.k8s.io/pause:3.10' }];
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

export const list = (items) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

export function startBrowser() {
  const executablePath = process.env.CHROMIUM ?? CHROMIUM.find(existsSync);
  if (!executablePath) throw new Error('there is no Chromium: scripts/browser.sh installs it');
  // Chromium has no sandbox for root.
  return chromium.launch({ executablePath, chromiumSandbox: process.getuid() !== 0 });
}
