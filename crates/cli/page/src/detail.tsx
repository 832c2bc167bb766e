// Everything about one workload.

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { call, Failure } from './api';
import { type Action, Dialog } from './dialogs';
import { Fight, rounds } from './fight';
import { History } from './history';
import { Icon, StateLabel } from './marks';
import { model, useNow } from './model';
import { type Detail as DetailOf, type Event, type Events, key, type Target } from './shapes';
import { palette, Timeline } from './timeline';
import { ago, author, CERTAINTY, count, plural, span, stateLabel, STATES, time, until } from './words';

/** Time in which several changes lead to one call, in milliseconds. */
const SOON = 40;

interface Props {
  target: Target;
  close: () => void;
  say: (text: string) => void;
}

export function Detail({ target, close, say }: Props) {
  const { detail, events, failure, token, loadMore, reload } = useDetail(target);
  const [action, setAction] = useState<Action | null>(null);
  const now = useNow(1000);
  const colours = useMemo(() => palette(events), [events]);
  const heading = useRef<HTMLHeadingElement>(null);
  // Before anything is painted, so that no key is lost.
  useLayoutEffect(() => heading.current?.focus(), []);
  const isManaged = detail !== null && detail.generation > 0;
  const isIgnored = detail?.enforcement === 'IGNORE';
  const isFought = detail !== null && (detail.contest !== null || detail.conflict !== null);
  // A conflict is a moment in a week of history.
  const focus = useFirst(isFought && events.length ? (rounds(events)[0]?.drift.at ?? null) : null);

  const onKeyDown = (event: KeyboardEvent) => {
    const typing = (event.target as HTMLElement).closest('input, textarea, dialog');
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Record<string, Action | undefined> = {
      s: 'set', i: isManaged ? (isIgnored ? 'enforce' : 'ignore') : undefined, u: 'undo',
    };
    if (event.key === 'Escape') close();
    else if (actions[event.key]) setAction(actions[event.key]!);
    else return;
    event.preventDefault();
  };
  // The focus may be lost with a dialog that closes.
  useEffect(() => {
    const onLostKey = (event: KeyboardEvent) => { if (event.target === document.body) onKeyDown(event); };
    document.addEventListener('keydown', onLostKey);
    return () => document.removeEventListener('keydown', onLostKey);
  });

  return (
    <section class="panel detail" aria-label={`Details of ${target.name}`} onKeyDown={onKeyDown}>
      <header>
        <div>
          <h2 ref={heading} tabIndex={-1}>{target.name}</h2>
          <p class="quiet">{target.kind} in {target.namespace}</p>
        </div>
        <button type="button" class="small" aria-label="Close the details" onClick={close}><Icon name="close" /></button>
      </header>
      {failure && <p class="alert bad" role="alert">{failure.message}</p>}
      {detail && (
        <>
          <Counts detail={detail} />
          <div class="actions">
            <button type="button" class="primary" onClick={() => setAction('set')}>Set…</button>
            {isManaged && (isIgnored
              ? <button type="button" onClick={() => setAction('enforce')}>Enforce…</button>
              : <button type="button" onClick={() => setAction('ignore')}>Ignore…</button>)}
            <button type="button" onClick={() => setAction('undo')} disabled={!events.some(isChange)}>Undo…</button>
          </div>
          <Alerts detail={detail} now={now} />
          <Facts detail={detail} now={now} />
          <h3>Time line</h3>
          <Timeline events={events} desired={detail.desired} now={now} colours={colours} focus={focus} />
          {isFought && (
            <>
              <h3>The conflict</h3>
              <Fight events={events} colours={colours} />
            </>
          )}
          <h3>History</h3>
          <History events={events} now={now} />
          {token && <button type="button" class="more" onClick={loadMore}>Older</button>}
          {action && (
            <Dialog
              action={action}
              detail={detail}
              close={(done) => {
                setAction(null);
                if (done) say(done);
                reload();
              }}
            />
          )}
        </>
      )}
      {!detail && !failure && <p class="quiet">Reading…</p>}
    </section>
  );
}

const isChange = ({ what }: Event) => what === 'SET' || what === 'DELETED' || what === 'IGNORED' || what === 'ENFORCED';

function Counts({ detail }: { detail: DetailOf }) {
  const differs = detail.desired !== null && detail.current !== null && detail.desired !== detail.current;
  return (
    <dl class="counts">
      <div><dt>Desired</dt><dd>{count(detail.desired)}</dd></div>
      <div class={differs ? 'differs' : ''}><dt>Current</dt><dd>{count(detail.current)}</dd></div>
      <div><dt>Ready</dt><dd>{count(detail.ready)}</dd></div>
      <div class="of-state"><dt class="hidden">State</dt><dd><StateLabel state={detail.state} /></dd></div>
    </dl>
  );
}

/** What is wrong, the worst first. */
function Alerts({ detail, now }: { detail: DetailOf; now: number }) {
  const { failure, contest, conflict, autoscaler, stateReason, observedAge } = detail;
  return (
    <>
      {failure && (
        <Alert tone="bad" title={`The desired count cannot be written${failure.code === null ? '' : ` (${failure.code})`}`}>
          {failure.message} {plural(failure.attempts, 'attempt')} since {time(failure.since, now)}
          {failure.nextTry !== null && failure.nextTry > now && `, the next one in ${span(failure.nextTry - now)}`}.
        </Alert>
      )}
      {(contest || conflict) && (
        <Alert tone="bad" title={`${author(contest?.by || conflict?.by || conflict?.likelyBy || '')} keeps changing the count`}>
          {conflict && `Put back ${plural(conflict.rounds, 'time')}, about every ${span(conflict.period ?? 0)}. `}
          {conflict && !conflict.by && conflict.likelyBy && 'The name is suspected: Kubernetes has recorded nobody. '}
          {contest && (contest.until !== null && contest.until > now
            ? `The next repair is made in ${span(contest.until - now)}.`
            : 'The next drift is repaired at once.')}
        </Alert>
      )}
      {autoscaler && (
        <Alert tone="warn" title={`${autoscaler} targets this workload`}>
          An autoscaler changes the count again and again. Delete it, or do not manage the count here.
        </Alert>
      )}
      {stateReason && <Alert tone="warn" title={stateLabel(detail.state)}>{stateReason}</Alert>}
      {observedAge !== null && <Alert tone="warn" title="The cluster is not watched now">What is shown is {span(observedAge)} old.</Alert>}
    </>
  );
}

function Alert({ tone, title, children }: { tone: string; title: string; children: ComponentChildren }) {
  return <div class={`alert ${tone}`}><b>{title}</b><p>{children}</p></div>;
}

const GUARDS: Record<string, string> = {
  UNGUARDED: 'The server watches and repairs',
  GUARD_PENDING: 'The API server keeps the count within moments',
  GUARD_SUSPENDED: 'Suspended: nothing is repaired in this namespace',
  GUARD_WARNS: 'The API server warns of other counts',
  GUARD_DENIES: 'The API server refuses other counts',
  GUARD_CORRECTS: 'The API server corrects other counts',
};

function Facts({ detail, now }: { detail: DetailOf; now: number }) {
  const { lastDrift: drift } = detail;
  const enforcement = detail.enforcement === 'IGNORE'
    ? detail.enforcementUntil === null ? 'Ignored' : `Ignored until ${until(detail.enforcementUntil)}`
    : 'Enforced';
  return (
    <dl class="facts">
      {detail.generation > 0 ? (
        <>
          <dt>Set</dt>
          <dd>by <b title={CERTAINTY[detail.setByCertainty]}>{author(detail.setBy)}</b>, {ago(detail.setAt, now)}{detail.reason && <q>{detail.reason}</q>}</dd>
          {detail.holdUntil !== null && (
            <>
              <dt>Temporary</dt>
              <dd>
                until {until(detail.holdUntil)}, then{' '}
                {detail.afterwards === null ? 'no longer managed' : <><b>{detail.afterwards}</b> again</>}
              </dd>
            </>
          )}
          <dt>Enforcement</dt>
          <dd>{enforcement}</dd>
          <dt>Guard</dt>
          <dd>{GUARDS[detail.guard] ?? detail.guard}</dd>
        </>
      ) : (
        <>
          <dt>Setting</dt>
          <dd>{STATES.find(({ state }) => state === detail.state)?.help}</dd>
        </>
      )}
      {drift && (
        <>
          <dt>Last drift</dt>
          <dd class="last-drift">
            {count(drift.from)} → {count(drift.to)} by <b>{author(drift.by || drift.likelyBy)}</b>
            {!drift.by && drift.likelyBy && ' (suspected)'}
            {drift.operation && <span class="quiet"> ({drift.operation}{drift.subresource && ` of ${drift.subresource}`})</span>}
            , {ago(drift.at, now)}{drift.podsLost ? `, ${plural(drift.podsLost, 'pod')} lost` : ''}
          </dd>
        </>
      )}
      <dt>Drifts</dt>
      <dd>{detail.driftCount.toLocaleString('en')}</dd>
    </dl>
  );
}

/** The first value that is not `null`. */
function useFirst<T>(value: T | null): T | null {
  const first = useRef(value);
  first.current ??= value;
  return first.current;
}

/** Reads a workload and its events, again whenever something happens to it. */
function useDetail(target: Target) {
  const name = key(target);
  const [detail, setDetail] = useState<DetailOf | null>(null);
  const [events, setEvents] = useState<Event[]>([]);
  const [token, setToken] = useState('');
  const [failure, setFailure] = useState<Failure | null>(null);
  const reloading = useRef<() => void>(() => {});

  useEffect(() => {
    let isGone = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    setDetail(null);
    setEvents([]);
    const plain = { namespace: target.namespace, name: target.name, kind: target.kind };
    const guard = async (load: () => Promise<void>) => {
      try {
        await load();
        if (!isGone) setFailure(null);
      } catch (error) {
        if (!isGone) setFailure(error as Failure);
      }
    };
    const loadDetail = () => guard(async () => {
      const detail = await call<DetailOf>('target', plain);
      if (!isGone) setDetail(detail);
    });
    const loadEvents = () => guard(async () => {
      const { events, nextPageToken } = await call<Events>('events', { target: plain });
      if (isGone) return;
      setEvents((newer) => merge(newer, events));
      setToken(nextPageToken);
    });
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(loadDetail, SOON);
    };
    reloading.current = () => void loadDetail();
    void loadDetail();
    void loadEvents();
    const unwatch = model.watch((event, changed) => {
      if (changed !== name) return;
      if (event) setEvents((older) => merge([event], older));
      soon();
    });
    // Events that happened while the connection was lost.
    let wasLive = model.connection === 'live';
    const unsubscribe = model.subscribe(() => {
      const isLive = model.connection === 'live';
      if (isLive && !wasLive) {
        void loadDetail();
        void loadEvents();
      }
      wasLive = isLive;
    });
    return () => {
      isGone = true;
      clearTimeout(timer);
      unwatch();
      unsubscribe();
    };
  }, [name]);

  const loadMore = async () => {
    const { namespace, kind } = target;
    try {
      const page = await call<Events>('events', { target: { namespace, name: target.name, kind }, pageToken: token });
      setEvents((newer) => merge(newer, page.events));
      setToken(page.nextPageToken);
    } catch (error) {
      setFailure(error as Failure);
    }
  };
  return { detail, events, failure, token, loadMore, reload: () => reloading.current() };
}

function merge(newer: Event[], older: Event[]): Event[] {
  const known = new Set(newer.map((event) => event.id));
  return [...newer, ...older.filter((event) => !known.has(event.id))].toSorted((one, other) => other.id - one.id);
}
