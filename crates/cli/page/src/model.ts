// What the page knows, and who wants to hear of changes.

import { useEffect, useReducer } from 'preact/hooks';

import { call, Failure, listen } from './api';
import { type About, type Changes, type Drifts, type Event, type Events, key, type Row } from './shapes';

export type Connection = 'connecting' | 'live' | 'lost';

/** Events of the feed. */
const FEED = 100;
/** Time between two renderings, in milliseconds. */
const FRAME = 16;
export const WEEK = 7 * 24 * 3600 * 1000;
const SLOT = 15 * 60 * 1000;

class Model {
  about: About = { version: '', server: '', user: '', namespace: '', ownNamespace: '' };
  connection: Connection = 'connecting';
  failure: Failure | null = null;
  /** Empty: all. */
  namespace = '';
  byKey = new Map<string, Row>();
  /** Namespaces that have been seen. */
  namespaces = new Set<string>();
  /** Newest first. */
  feed: Event[] = [];
  /** The last drift of each workload. */
  lastDrifts = new Map<string, Event>();
  drifts: Drifts | null = null;
  /** Grows when the rows change. */
  version = 0;

  private listeners = new Set<() => void>();
  private watchers = new Set<(event: Event | null, key: string) => void>();
  private scheduled = false;
  private stop = new AbortController();

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Tells of events, and with `null` of changed rows. */
  watch(watcher: (event: Event | null, key: string) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  changed() {
    if (this.scheduled) return;
    this.scheduled = true;
    setTimeout(() => {
      this.scheduled = false;
      this.listeners.forEach((listener) => listener());
    }, FRAME);
  }

  async start(namespace: string | null) {
    try {
      this.about = await call<About>('about');
    } catch (error) {
      this.lost(error as Failure);
      return;
    }
    this.show(namespace ?? this.about.namespace);
  }

  /** Shows a namespace, or all if it is empty. */
  show(namespace: string) {
    this.stop.abort();
    this.stop = new AbortController();
    this.namespace = namespace;
    this.connection = 'connecting';
    this.failure = null;
    this.byKey.clear();
    this.lastDrifts.clear();
    this.feed = [];
    this.drifts = null;
    this.version++;
    void listen(namespace, this, this.stop.signal);
    this.changed();
  }

  rows({ rows, gone }: Changes) {
    for (const row of rows) {
      this.byKey.set(key(row), row);
      this.namespaces.add(row.namespace);
      this.watchers.forEach((watcher) => watcher(null, key(row)));
    }
    for (const [namespace, name, kind] of gone) this.byKey.delete(key({ namespace, name, kind }));
    this.version++;
    this.changed();
  }

  live() {
    this.connection = 'live';
    this.failure = null;
    this.changed();
    void this.load();
  }

  lost(failure: Failure) {
    this.connection = 'lost';
    this.failure = failure;
    this.changed();
  }

  event(event: Event) {
    this.add(event);
    this.feed = [event, ...this.feed].slice(0, FEED);
    if (event.what === 'DRIFTED') this.count(event);
    this.watchers.forEach((watcher) => watcher(event, key(event)));
    this.changed();
  }

  private add(event: Event) {
    if (event.what === 'DRIFTED') this.lastDrifts.set(key(event), event);
    if (event.what === 'DELETED') this.lastDrifts.delete(key(event));
  }

  /** Loads what was before the stream began. */
  private async load() {
    const { signal } = this.stop;
    const namespace = this.namespace;
    const since = Date.now() - WEEK;
    try {
      const [recent, drifts] = await Promise.all([
        call<Events>('recent', { namespace }),
        call<Drifts>('drifts', { namespace, since }),
      ]);
      if (signal.aborted) return;
      const known = new Set(recent.events.map((event) => event.id));
      const newer = this.feed.filter((event) => !known.has(event.id));
      for (const event of recent.events.toReversed()) this.add(event);
      for (const event of newer.toReversed()) this.add(event);
      this.feed = [...newer, ...recent.events].slice(0, FEED);
      this.drifts = drifts;
      this.changed();
    } catch {
      // The stream shows what is wrong with the server.
    }
  }

  /** Adds a drift to those of the week. */
  private count(event: Event) {
    if (!this.drifts || event.at === null) return;
    const { authors, slots } = this.drifts;
    const slot = event.at - (event.at % SLOT);
    const same = slots.find(([start]) => start === slot);
    const known = authors.find(({ by, certainty }) => by === event.by && certainty === event.certainty);
    const drifts = (known?.drifts ?? 0) + 1;
    const next = { by: event.by, certainty: event.certainty, targets: 1, ...known, drifts, last: event.at };
    const rest = authors.filter((one) => one !== known);
    this.drifts = {
      ...this.drifts,
      count: this.drifts.count + 1,
      authors: [...rest, next].toSorted((one, other) => other.drifts - one.drifts),
      slots: same
        ? slots.map((one) => (one === same ? [slot, same[1] + 1] : one))
        : [...slots, [slot, 1]],
    };
  }
}

export const model = new Model();

/** Renders again when the model changes. */
export function useModel(): Model {
  const [, again] = useReducer((count: number) => count + 1, 0);
  useEffect(() => model.subscribe(() => again(0)), []);
  return model;
}

/** The time, which moves on every `period` milliseconds. */
export function useNow(period: number): number {
  const [now, tick] = useReducer(() => Date.now(), 0, () => Date.now());
  useEffect(() => {
    const timer = setInterval(() => tick(0), period);
    return () => clearInterval(timer);
  }, [period]);
  return now;
}
