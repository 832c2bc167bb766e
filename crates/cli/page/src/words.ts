// States, events and times in words.

import type { Certainty, Event, Row, State, What } from './shapes';

/** In the order in which they need attention. */
export const STATES: { state: State; label: string; help: string }[] = [
  { state: 'CONTESTED', label: 'Contested', help: 'Somebody keeps changing the count. It is repaired at growing intervals.' },
  { state: 'DRIFTED', label: 'Drifted', help: 'The cluster has another count, which is being put back.' },
  { state: 'MISSING', label: 'Missing', help: 'A count is stored and the workload does not exist.' },
  { state: 'AUTOSCALED', label: 'Autoscaled', help: 'A count is stored and an autoscaler targets the workload.' },
  { state: 'UNKNOWN', label: 'Unknown', help: 'The cluster has not been read yet, or cannot be.' },
  { state: 'UNSUPPORTED', label: 'Unsupported', help: 'Another version of the server has stored something that this one does not know.' },
  { state: 'OUT_OF_SCOPE', label: 'Out of scope', help: 'This server does not manage the namespace or the kind.' },
  { state: 'IGNORED', label: 'Ignored', help: 'The cluster has another count, which is left as it is.' },
  { state: 'IN_SYNC', label: 'In sync', help: 'The cluster has the desired count.' },
  { state: 'UNMANAGED', label: 'Unmanaged', help: 'No count is stored.' },
];

const LABELS = Object.fromEntries(STATES.map(({ state, label }) => [state, label]));
export const RANK = Object.fromEntries(STATES.map(({ state }, rank) => [state, rank]));

export const stateLabel = (state: State) => LABELS[state] ?? state;

export const count = (replicas: number | null) => (replicas === null ? '–' : String(replicas));

export const plural = (number: number, one: string, many = `${one}s`) =>
  `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

/** A duration in the two largest units that matter. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1).replace(/\.0$/, '')} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function ago(at: number | null, now: number): string {
  if (at === null) return 'at an unknown time';
  return now - at < 5000 ? 'just now' : `${span(now - at)} ago`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hour12: false });

export function time(at: number | null, now = Date.now()): string {
  if (at === null) return '';
  const isToday = new Date(at).toDateString() === new Date(now).toDateString();
  return isToday ? clock.format(at) : `${day.format(at)} ${minute.format(at)}`;
}

export const until = (at: number) => {
  const isToday = new Date(at).toDateString() === new Date().toDateString();
  return isToday ? minute.format(at) : `${day.format(at)}, ${minute.format(at)}`;
};

/** The name of an author, and how sure it is. */
export const author = (by: string) => by || 'somebody unknown';

export const CERTAINTY: Record<Certainty, string> = {
  PROVEN: 'a user, proven by a certificate',
  CLAIMED: 'a field manager: a name that the client chose',
  SUSPECTED: 'suspected: Kubernetes has recorded nobody',
  UNKNOWN: 'Kubernetes has recorded nobody',
};

const TITLES: Record<What, string> = {
  UNSPECIFIED: 'Event',
  SET: 'Set',
  DELETED: 'Setting deleted',
  ENFORCED: 'Enforced',
  IGNORED: 'Ignored',
  DRIFTED: 'Drifted',
  ANOTHER_SERVER: 'Changed by another server',
  REPAIRED: 'Repaired',
  APPLIED: 'In effect',
  RESOLVED: 'Resolved',
  LATE_COST: 'More pods lost',
  CONTESTED: 'Contested',
  CALMED: 'Calm again',
  STEADY_CONFLICT: 'Steady conflict',
  STEADY_CONFLICT_ENDED: 'Steady conflict ended',
  MISSING: 'Missing',
  AUTOSCALED: 'Autoscaler',
  WRITE_FAILED: 'Write failed',
  HOLD_ENDED: 'Temporary count ended',
};

export const title = (what: What) => TITLES[what] ?? what;

export type Tone = 'good' | 'bad' | 'warn' | 'plain' | 'user';

const TONES: Partial<Record<What, Tone>> = {
  SET: 'user', DELETED: 'user', ENFORCED: 'user', IGNORED: 'user', HOLD_ENDED: 'user',
  DRIFTED: 'warn', ANOTHER_SERVER: 'warn', AUTOSCALED: 'warn', LATE_COST: 'warn', MISSING: 'warn',
  CONTESTED: 'bad', STEADY_CONFLICT: 'bad', WRITE_FAILED: 'bad',
  REPAIRED: 'good', APPLIED: 'good', RESOLVED: 'good', CALMED: 'good', STEADY_CONFLICT_ENDED: 'good',
};

export const tone = (what: What): Tone => TONES[what] ?? 'plain';

export const change = (from: number | null, to: number | null) => `${count(from)} → ${count(to)}`;

/** What the author of an event has to do with it. */
export function link(what: What): string {
  switch (what) {
    case 'REPAIRED':
    case 'RESOLVED':
    case 'LATE_COST':
    case 'WRITE_FAILED':
      return 'after a drift by';
    case 'CONTESTED':
    case 'STEADY_CONFLICT':
      return 'with';
    default:
      return 'by';
  }
}

/** What an event says beside its title and its author. */
export function facts(event: Event): string {
  const parts: string[] = [];
  if (event.from !== null || event.to !== null) parts.push(change(event.from, event.to));
  if (event.what === 'REPAIRED' && event.took !== null) parts.push(`in ${span(event.took)}`);
  if (event.podsLost) parts.push(`${plural(event.podsLost, 'pod')} lost`);
  if (event.what === 'CONTESTED' && event.wait !== null) parts.push(`next repair after ${span(event.wait)}`);
  if (event.what === 'STEADY_CONFLICT') parts.push(`every ${span(event.wait ?? 0)}, ${event.times} times`);
  if (event.what === 'WRITE_FAILED') parts.push(`${event.message}${event.times > 1 ? ` (${event.times} in a row)` : ''}`);
  if (event.what === 'AUTOSCALED') parts.push(event.autoscaler || 'none any more');
  if (event.what === 'SET' && event.until !== null) parts.push(`until ${until(event.until)}`);
  if (event.what === 'IGNORED') parts.push(event.until === null ? 'until somebody enforces it' : `until ${until(event.until)}`);
  if (event.what === 'RESOLVED' && event.reason) parts.push(event.reason.replaceAll('_', ' '));
  return parts.join(' · ');
}

/** What needs to be known about a row. */
export function note(row: Row, lastDrift: Event | undefined, now: number): string {
  if (row.failure) {
    const code = row.failure.code === null ? '' : ` (${row.failure.code})`;
    return `Write failed${code}: ${row.failure.reason.replaceAll('_', ' ')}, ${plural(row.failure.attempts, 'attempt')}`;
  }
  if (row.conflict) {
    const who = author(row.conflict.by || row.conflict.likelyBy);
    return `${who} every ${span(row.conflict.period ?? 0)}, ${row.conflict.rounds}×`;
  }
  if (row.stateReason) return row.stateReason;
  if (lastDrift) return `${author(lastDrift.by)} ${change(lastDrift.from, lastDrift.to)}, ${ago(lastDrift.at, now)}`;
  return '';
}
