// The page.

import { render } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { Detail } from './detail';
import { Icon, Mark } from './marks';
import { model, useModel } from './model';
import { Overview } from './overview';
import { key, type State, type Target } from './shapes';
import { Table } from './table';
import { STATES } from './words';

/** How long a message shows, in milliseconds. */
const MESSAGE = 5000;

/** What the address of the page says: the namespace, and the workload whose details show. */
interface Place {
  namespace: string | null;
  target: Target | null;
}

function readPlace(): Place {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const [namespace, kind, name] = parameters.get('target')?.split('/') ?? [];
  return {
    namespace: parameters.get('namespace'),
    target: namespace && kind && name ? { namespace, kind, name } : null,
  };
}

function writePlace({ namespace, target }: Place) {
  const parts = [];
  if (namespace !== null) parts.push(`namespace=${encodeURIComponent(namespace)}`);
  if (target) parts.push(`target=${[target.namespace, target.kind, target.name].map(encodeURIComponent).join('/')}`);
  history.replaceState(null, '', `${location.pathname}${location.search}#${parts.join('&')}`);
}

function App() {
  const { failure, connection } = useModel();
  const [place, setPlace] = useState(readPlace);
  const [text, setText] = useState('');
  const [state, setState] = useState<State | null>(null);
  const [message, setMessage] = useState('');
  const search = useRef<HTMLInputElement>(null);
  const filter = useMemo(() => ({ text, state }), [text, state]);

  useEffect(() => void model.start(place.namespace), []);
  useEffect(() => writePlace(place), [place]);
  useEffect(() => {
    const timer = setTimeout(() => setMessage(''), MESSAGE);
    return () => clearTimeout(timer);
  }, [message]);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const isTyping = (event.target as HTMLElement).closest?.('input, textarea, select, dialog');
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey) return;
      search.current!.focus();
      event.preventDefault();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);

  const show = (namespace: string) => {
    setPlace({ namespace, target: null });
    model.show(namespace);
  };
  const open = ({ namespace, kind, name }: Target) => setPlace({ ...place, target: { namespace, kind, name } });
  const { target } = place;
  return (
    <>
      <Header show={show} />
      {failure && connection === 'lost' && <Lost show={show} />}
      <main>
        <section class="list" aria-label="Workloads">
          <div class="tools">
            <label class="search">
              <Icon name="search" />
              <span class="hidden">Filter by name, namespace or kind</span>
              <input
                ref={search}
                type="search"
                placeholder="Filter by name, namespace, kind"
                value={text}
                onInput={(event) => setText(event.currentTarget.value)}
              />
              <kbd aria-hidden="true">/</kbd>
            </label>
            <Counts state={state} set={setState} />
          </div>
          <Table filter={filter} selected={target && key(target)} open={open} />
        </section>
        {target
          ? <Detail key={key(target)} target={target} close={() => setPlace({ ...place, target: null })} say={setMessage} />
          : <Overview open={open} />}
      </main>
      <div class="message" role="status">{message && <p>{message}</p>}</div>
    </>
  );
}

function Header({ show }: { show: (namespace: string) => void }) {
  const { about, connection, namespace, namespaces, version } = useModel();
  const names = useMemo(() => [...new Set([...namespaces, about.ownNamespace, namespace])].filter(Boolean).toSorted(), [version, about, namespace]);
  const words = { connecting: 'Connecting', live: 'Live', lost: 'Not connected' };
  return (
    <header class="top">
      <h1><img src="/icon.svg" alt="" width="20" height="20" />Replica counts</h1>
      <label class="scope">
        <span class="quiet">Namespace</span>
        <select value={namespace} onChange={(event) => show(event.currentTarget.value)}>
          <option value="">All</option>
          {names.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      <span class="about quiet">
        {about.server}{about.user && <> as <b>{about.user}</b></>}
      </span>
      <span class={`connection ${connection}`} role="status"><i />{words[connection]}</span>
    </header>
  );
}

/** Why nothing is live, and what to do. */
function Lost({ show }: { show: (namespace: string) => void }) {
  const { failure, namespace, about } = useModel();
  const [name, setName] = useState(about.ownNamespace);
  const isRefused = failure?.reason === 'NOT_AUTHORIZED';
  return (
    <div class="lost" role="alert">
      <p>
        {failure!.message}
        {failure!.code === 'Unavailable' && ' Connecting again…'}
      </p>
      {isRefused && namespace === '' && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (name) show(name);
          }}
        >
          <label>Show only the namespace <input type="text" required value={name} onInput={(event) => setName(event.currentTarget.value)} /></label>
          <button type="submit">Show</button>
        </form>
      )}
    </div>
  );
}

/** How many workloads have each state. A click shows only them. */
function Counts({ state, set }: { state: State | null; set: (state: State | null) => void }) {
  const { byKey, version } = useModel();
  const counts = useMemo(() => {
    const counts = new Map<State, number>();
    for (const row of byKey.values()) counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
    return counts;
  }, [version]);
  const shown = STATES.filter((one) => counts.has(one.state) || one.state === state || one.state === 'IN_SYNC' || one.state === 'DRIFTED');
  return (
    <div class="states" role="group" aria-label="Workloads by state">
      <button type="button" aria-pressed={state === null} onClick={() => set(null)}>
        <b>{byKey.size.toLocaleString('en')}</b> All
      </button>
      {shown.map(({ state: one, label, help }) => (
        <button key={one} type="button" class={counts.has(one) ? '' : 'none'} aria-pressed={state === one} title={help} onClick={() => set(state === one ? null : one)}>
          <Mark state={one} /><b>{(counts.get(one) ?? 0).toLocaleString('en')}</b> {label}
        </button>
      ))}
    </div>
  );
}

render(<App />, document.body);
