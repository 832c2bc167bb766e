// The table. Only the rows that show are in the document, so that it scrolls with any number of rows.

import { Component } from 'preact';
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { Icon, StateLabel } from './marks';
import { model, useModel, useNow } from './model';
import { key, type Row, type State, type Target } from './shapes';
import { count, note, RANK } from './words';

const ROW_HEIGHT = 34;
/** Rows above and below those that show. */
const MARGIN = 8;
/** Rows after which others are shown, so that most scroll events change nothing. */
const STEP = 4;

type Column = 'state' | 'namespace' | 'name' | 'kind' | 'desired' | 'current' | 'ready' | 'note';

const COLUMNS: { column: Column; label: string; isNumber?: true }[] = [
  { column: 'state', label: 'State' },
  { column: 'namespace', label: 'Namespace' },
  { column: 'name', label: 'Name' },
  { column: 'kind', label: 'Kind' },
  { column: 'desired', label: 'Desired', isNumber: true },
  { column: 'current', label: 'Current', isNumber: true },
  { column: 'ready', label: 'Ready', isNumber: true },
  { column: 'note', label: 'Last drift or problem' },
];

interface Order {
  column: Column;
  descending: boolean;
}

type Ordered = string | number;

function value(row: Row, column: Column): Ordered {
  switch (column) {
    case 'state':
      return RANK[row.state] ?? 99;
    case 'namespace':
    case 'name':
    case 'kind':
      return row[column];
    case 'desired':
    case 'current':
    case 'ready':
      return row[column] ?? -1;
    case 'note':
      // Problems first, then the newest drifts.
      if (row.failure) return -Infinity;
      if (row.conflict) return -Number.MAX_VALUE;
      return -(model.lastDrifts.get(key(row))?.at ?? 0);
  }
}

const compare = (one: Ordered, other: Ordered) => (one < other ? -1 : one > other ? 1 : 0);

/** Words that must all be in the name, the namespace or the kind. */
export interface Filter {
  text: string;
  state: State | null;
}

function select(rows: Iterable<Row>, filter: Filter, order: Order): Row[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found: [Ordered, Row][] = [];
  for (const row of rows) {
    if (filter.state && row.state !== filter.state) continue;
    if (words.length) {
      const text = `${row.namespace}/${row.name} ${row.kind.toLowerCase()}`;
      if (!words.every((word) => text.includes(word))) continue;
    }
    found.push([value(row, order.column), row]);
  }
  const sign = order.descending ? -1 : 1;
  found.sort(
    ([one, row], [other, otherRow]) =>
      sign * compare(one, other) ||
      compare(row.namespace, otherRow.namespace) ||
      compare(row.name, otherRow.name) ||
      compare(row.kind, otherRow.kind),
  );
  return found.map(([, row]) => row);
}

interface Props {
  filter: Filter;
  selected: string | null;
  open: (target: Target) => void;
}

export function Table({ filter, selected, open }: Props) {
  const { version, byKey, lastDrifts, connection } = useModel();
  const now = useNow(10_000);
  const [order, setOrder] = useState<Order>({ column: 'state', descending: false });
  const rows = useMemo(
    () => select(byKey.values(), filter, order),
    [version, filter.text, filter.state, order],
  );
  const hasOtherKinds = useMemo(() => rows.some(({ kind }) => kind !== 'Deployment'), [rows]);
  const [active, setActive] = useState<string | null>(null);
  const { viewport, first, last, size } = useViewport(rows.length);
  const activeIndex = rows.findIndex((row) => key(row) === (active ?? selected));

  const move = (index: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, index));
    const row = rows[next];
    if (!row) return;
    setActive(key(row));
    reveal(viewport.current!, next);
  };
  const latest = useRef(open);
  latest.current = open;
  const choose = useCallback((row: Row) => {
    setActive(key(row));
    latest.current(row);
  }, []);
  const onKeyDown = (event: KeyboardEvent) => {
    // The buttons of the head have keys of their own.
    if (event.target !== event.currentTarget) return;
    const page = Math.floor(viewport.current!.clientHeight / ROW_HEIGHT) - 2;
    const to: Record<string, number> = {
      ArrowDown: activeIndex + 1,
      ArrowUp: activeIndex - 1,
      PageDown: activeIndex + page,
      PageUp: activeIndex - page,
      Home: 0,
      End: rows.length - 1,
    };
    const row = rows[activeIndex];
    if (event.key in to) move(to[event.key]!);
    else if (event.key === 'Enter' && row) open(row);
    else return;
    event.preventDefault();
  };

  return (
    <div
      class={hasOtherKinds ? 'table' : 'table one-kind'}
      role="grid"
      ref={viewport}
      tabIndex={0}
      aria-label="Workloads: arrows move, Enter shows the details"
      aria-rowcount={rows.length + 1}
      aria-colcount={COLUMNS.length}
      aria-activedescendant={activeIndex >= first && activeIndex < last ? `row-${activeIndex}` : undefined}
      onKeyDown={onKeyDown}
    >
      <div class="head" role="rowgroup">
        <div class="row" role="row" aria-rowindex={1}>
          {COLUMNS.map(({ column, label, isNumber }) => (
            <Head key={column} label={label} isNumber={isNumber} order={order} column={column} sort={setOrder} />
          ))}
        </div>
      </div>
      <div class="all" role="rowgroup" style={{ height: `${rows.length * ROW_HEIGHT}px` }}>
        {rows.slice(first, last).map((row, offset) => {
          const index = first + offset;
          const name = key(row);
          // A row that leaves on one side is used again on the other.
          return (
            <RowLine
              key={index % size}
              index={index}
              row={row}
              note={note(row, lastDrifts.get(name), now)}
              isActive={index === activeIndex}
              isSelected={name === selected}
              choose={choose}
            />
          );
        })}
      </div>
      {rows.length === 0 && <Empty isLoading={connection === 'connecting'} isFiltered={byKey.size > 0} />}
    </div>
  );
}

interface LineProps {
  index: number;
  row: Row;
  note: string;
  isActive: boolean;
  isSelected: boolean;
  choose: (row: Row) => void;
}

/** A row. It is rendered again only if something about it has changed, so that scrolling renders only new rows. */
class RowLine extends Component<LineProps> {
  override shouldComponentUpdate(next: LineProps): boolean {
    const names = ['index', 'row', 'note', 'isActive', 'isSelected'] as const;
    return names.some((name) => this.props[name] !== next[name]);
  }

  render({ index, row, note, isActive, isSelected, choose }: LineProps) {
    const differs = row.desired !== null && row.current !== null && row.desired !== row.current;
    return (
      <div
        id={`row-${index}`}
        class={`row${isActive ? ' active' : ''}`}
        role="row"
        aria-rowindex={index + 2}
        aria-selected={isSelected}
        style={{ top: `${index * ROW_HEIGHT}px` }}
        onClick={() => choose(row)}
      >
        <div role="gridcell"><StateLabel state={row.state} /></div>
        <div role="gridcell" class="quiet">{row.namespace}</div>
        <div role="gridcell" class="name">{row.name}</div>
        <div role="gridcell" class="quiet kind">{row.kind}</div>
        <div role="gridcell" class="number">{count(row.desired)}</div>
        <div role="gridcell" class={differs ? 'number differs' : 'number'}>{count(row.current)}</div>
        <div role="gridcell" class="number quiet">{count(row.ready)}</div>
        <div role="gridcell" class={row.failure || row.conflict ? 'note problem' : 'note quiet'} title={note}>{note}</div>
      </div>
    );
  }
}

interface HeadProps {
  label: string;
  isNumber: true | undefined;
  column: Column;
  order: Order;
  sort: (order: Order) => void;
}

function Head({ label, isNumber, column, order, sort }: HeadProps) {
  const isSorted = order.column === column;
  const direction = order.descending ? 'descending' : 'ascending';
  return (
    <div role="columnheader" class={`${isNumber ? 'number ' : ''}${column}`} aria-sort={isSorted ? direction : 'none'}>
      <button type="button" onClick={() => sort({ column, descending: isSorted && !order.descending })}>
        {label}
        {isSorted && <Icon name={order.descending ? 'down' : 'up'} />}
      </button>
    </div>
  );
}

function Empty({ isLoading, isFiltered }: { isLoading: boolean; isFiltered: boolean }) {
  return (
    <p class="empty">
      {isLoading ? 'Reading…' : isFiltered ? 'No workload matches the filter.' : 'There are no workloads here.'}
    </p>
  );
}

/** Which of `total` rows show, with a margin. */
function useViewport(total: number) {
  const viewport = useRef<HTMLDivElement>(null);
  const [{ top, height }, setShown] = useState({ top: 0, height: 800 });
  useEffect(() => {
    const element = viewport.current!;
    const update = () => {
      const top = Math.floor(element.scrollTop / ROW_HEIGHT / STEP) * STEP;
      const height = element.clientHeight;
      setShown((shown) => (shown.top === top && shown.height === height ? shown : { top, height }));
    };
    const observer = new ResizeObserver(update);
    observer.observe(element);
    element.addEventListener('scroll', update, { passive: true });
    update();
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', update);
    };
  }, []);
  // The browser moves the scroll position when rows go.
  useLayoutEffect(() => void viewport.current!.dispatchEvent(new Event('scroll')), [total]);
  const size = Math.ceil(height / ROW_HEIGHT) + STEP + 2 * MARGIN;
  const first = Math.max(0, top - MARGIN);
  const last = Math.min(total, first + size);
  return { viewport, first, last, size };
}

function reveal(viewport: HTMLElement, index: number) {
  // The head covers the first row.
  const top = index * ROW_HEIGHT;
  const bottom = top + 2 * ROW_HEIGHT;
  if (top < viewport.scrollTop) viewport.scrollTop = top;
  else if (bottom > viewport.scrollTop + viewport.clientHeight) viewport.scrollTop = bottom - viewport.clientHeight;
}
