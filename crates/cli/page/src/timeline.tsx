// The time line of a workload: the desired count as steps, drifts as excursions from it, in the colour of who caused them.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { Icon } from './marks';
import type { Event } from './shapes';
import { author, facts, link, plural, time, title } from './words';

const HEIGHT = 190;
const PAD = { left: 34, right: 14, top: 14, bottom: 24 };
/** The shortest time that can be shown. */
const MIN_SPAN = 2000;
/** Colours of authors; the last one is for all others. */
export const COLOURS = 6;

interface Excursion {
  event: Event;
  at: number;
  end: number;
  from: number;
  to: number;
}

interface Band {
  start: number;
  end: number;
  what: 'ignored' | 'contested';
}

/** What the events say, oldest first, until `now`. */
interface Story {
  start: number;
  desired: { at: number; count: number | null }[];
  excursions: Excursion[];
  bands: Band[];
  marks: { event: Event; at: number; count: number }[];
  max: number;
}

const ENDS = new Set(['REPAIRED', 'RESOLVED', 'APPLIED', 'SET', 'DELETED', 'HOLD_ENDED', 'DRIFTED']);

export function tell(newestFirst: Event[], desired: number | null, now: number): Story {
  const events = newestFirst.filter((event) => event.at !== null).toReversed();
  const story: Story = { start: events[0]?.at ?? now - 3600_000, desired: [], excursions: [], bands: [], marks: [], max: 1 };
  let open: Excursion | null = null;
  const first = events.find((event) => ['SET', 'DELETED', 'DRIFTED', 'HOLD_ENDED'].includes(event.what));
  let count = first ? first.from : desired;
  const bands: Partial<Record<Band['what'], Band>> = {};
  const begin = (what: Band['what'], start: number) => {
    if (!bands[what]) story.bands.push((bands[what] = { what, start, end: now }));
  };
  const finish = (what: Band['what'], end: number) => {
    if (bands[what]) bands[what].end = end;
    delete bands[what];
  };
  story.desired.push({ at: story.start, count });
  for (const event of events) {
    const at = event.at!;
    if (open && ENDS.has(event.what)) {
      open.end = at;
      open = null;
    }
    switch (event.what) {
      case 'SET':
      case 'DELETED':
      case 'HOLD_ENDED':
        count = event.what === 'DELETED' ? null : event.to;
        story.desired.push({ at, count });
        story.marks.push({ event, at, count: count ?? event.from ?? 0 });
        break;
      case 'DRIFTED':
        open = { event, at, end: now, from: event.from ?? 0, to: event.to ?? 0 };
        story.excursions.push(open);
        break;
      case 'IGNORED':
        begin('ignored', at);
        break;
      case 'ENFORCED':
        finish('ignored', at);
        break;
      case 'CONTESTED':
        begin('contested', at);
        break;
      case 'CALMED':
        finish('contested', at);
        break;
    }
    story.max = Math.max(story.max, event.from ?? 0, event.to ?? 0);
  }
  story.desired.push({ at: now, count });
  story.max = Math.max(story.max, desired ?? 0);
  return story;
}

/** A colour for each author, the most frequent first. */
export function palette(events: Event[]): Map<string, number> {
  const drifts = new Map<string, number>();
  for (const { what, by } of events) if (what === 'DRIFTED') drifts.set(by, (drifts.get(by) ?? 0) + 1);
  const names = [...drifts].toSorted(([, one], [, other]) => other - one).map(([name]) => name);
  return new Map(names.map((name, index) => [name, Math.min(index, COLOURS - 1)]));
}

interface Props {
  events: Event[];
  desired: number | null;
  now: number;
  colours: Map<string, number>;
  /** The part that is shown first begins here. `null`: all is shown. */
  focus: number | null;
}

/** The part that is shown. An end of `null` moves on with the time. */
interface Zoom {
  from: number;
  to: number | null;
}

export function Timeline({ events, desired, now, colours, focus }: Props) {
  const story = useMemo(() => tell(events, desired, now), [events, desired, now]);
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const [zoom, setZoom] = useState<Zoom | null>(null);
  useEffect(() => {
    if (focus !== null) setZoom({ from: focus - Math.max(MIN_SPAN, (now - focus) * 0.1), to: null });
  }, [focus]);
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const [hover, setHover] = useState<Event | null>(null);
  const whole: [number, number] = [story.start - (now - story.start) * 0.02, now + (now - story.start) * 0.02 + 500];
  const [from, to] = zoom ? [zoom.from, zoom.to ?? now + (now - zoom.from) * 0.03 + 500] : whole;

  const inner = Math.max(10, width - PAD.left - PAD.right);
  const x = (at: number) => PAD.left + ((at - from) / (to - from)) * inner;
  const at = (pixel: number) => from + ((pixel - PAD.left) / inner) * (to - from);
  const bottom = HEIGHT - PAD.bottom;
  const top = ticks(story.max);
  const y = (count: number) => bottom - (count / top.at(-1)!) * (bottom - PAD.top);

  const show = (start: number, end: number) => {
    const span = Math.max(MIN_SPAN, end - start);
    if (span >= whole[1] - whole[0]) return setZoom(null);
    const begin = Math.max(whole[0], Math.min(start, whole[1] - span));
    const isUntilNow = begin + span >= now;
    setZoom({ from: begin, to: isUntilNow ? null : begin + span });
  };
  const scale = (factor: number, middle = (from + to) / 2) => show(middle - (middle - from) * factor, middle + (to - middle) * factor);
  const shift = (part: number) => show(from + (to - from) * part, to + (to - from) * part);
  const position = (event: MouseEvent) => event.clientX - box.current!.getBoundingClientRect().left;

  const onKeyDown = (event: KeyboardEvent) => {
    const actions: Record<string, () => void> = {
      '+': () => scale(0.6), '=': () => scale(0.6), '-': () => scale(1 / 0.6), '0': () => setZoom(null),
      ArrowLeft: () => shift(-0.2), ArrowRight: () => shift(0.2),
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey) return;
    action();
    event.preventDefault();
  };
  useWheel(box, (event) => {
    // Without a key, the wheel scrolls the page.
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return false;
    scale(event.deltaY + event.deltaX > 0 ? 1.3 : 1 / 1.3, at(position(event)));
    return true;
  });
  const onPointerMove = (event: PointerEvent) => {
    const pixel = position(event);
    if (drag) setDrag([drag[0], pixel]);
    else setHover(nearest(story, x, pixel));
  };
  const onPointerUp = () => {
    if (drag && Math.abs(drag[1] - drag[0]) > 6) show(at(Math.min(...drag)), at(Math.max(...drag)));
    setDrag(null);
  };

  const drifts = story.excursions.length;
  return (
    <figure class="timeline">
      <div class="figure-head">
        <Legend colours={colours} />
        <span class="buttons">
          <button type="button" class="small" aria-label="Zoom in" onClick={() => scale(0.6)}><Icon name="plus" /></button>
          <button type="button" class="small" aria-label="Zoom out" onClick={() => scale(1 / 0.6)} disabled={!zoom}><Icon name="minus" /></button>
          <button type="button" class="small" aria-label="Show all" onClick={() => setZoom(null)} disabled={!zoom}><Icon name="reset" /></button>
        </span>
      </div>
      <div
        ref={box}
        class="plot"
        role="group"
        tabIndex={0}
        aria-label="Time line: plus and minus zoom, arrows move, 0 shows all. The history below has the same in words."
        onKeyDown={onKeyDown}
        onPointerDown={(event) => event.button === 0 && setDrag([position(event), position(event)])}
        onPointerMove={onPointerMove}
        onPointerUp={onPointerUp}
        onPointerLeave={() => {
          setDrag(null);
          setHover(null);
        }}
        onDblClick={() => setZoom(null)}
      >
        <svg width={width} height={HEIGHT} role="img" aria-label={`${plural(drifts, 'drift')} since ${time(story.start, now)}`}>
          <clipPath id="inner"><rect x={PAD.left} y="0" width={inner} height={HEIGHT} /></clipPath>
          {top.map((count) => (
            <g key={count}>
              <line class="rule" x1={PAD.left} x2={width - PAD.right} y1={y(count)} y2={y(count)} />
              <text class="tick" x={PAD.left - 8} y={y(count) + 4} text-anchor="end">{count}</text>
            </g>
          ))}
          {timeTicks(from, to, inner).map(({ at, text }) => (
            <text key={at} class="tick" x={x(at)} y={HEIGHT - 6} text-anchor="middle">{text}</text>
          ))}
          <g clip-path="url(#inner)">
            {story.bands.map((band) => (
              <rect key={`${band.what}${band.start}`} class={`band ${band.what}`} x={x(band.start)} y={PAD.top} width={Math.max(1, x(band.end) - x(band.start))} height={bottom - PAD.top} />
            ))}
            {steps(story.desired).map((line, index) => {
              const path = line.map(({ at, count }) => `L${x(at)} ${y(count)}`).join('').slice(1);
              return (
                <g key={index}>
                  <path class="area" d={`M${x(line[0]!.at)} ${bottom}L${path}V${bottom}z`} />
                  <path class="desired" d={`M${path}`} />
                </g>
              );
            })}
            {story.excursions.map((one) => (
              <Excursion key={one.event.id} {...{ one, x, y }} colour={colours.get(one.event.by) ?? 0} isHovered={hover === one.event} />
            ))}
            {story.marks.map(({ event, at, count }) => (
              <path key={event.id} class={`set${hover === event ? ' hovered' : ''}`} d={`M${x(at)} ${y(count) - 6}l5 6-5 6-5-6z`} />
            ))}
            {drag && <rect class="selection" x={Math.min(...drag)} y={PAD.top} width={Math.abs(drag[1] - drag[0])} height={bottom - PAD.top} />}
          </g>
        </svg>
      </div>
      <figcaption class="readout">
        {hover ? (
          <><b>{title(hover.what)}</b> {facts(hover)} {link(hover.what)} {author(hover.by)}, {time(hover.at, now)}</>
        ) : (
          <span class="quiet">Drag over a part to zoom in</span>
        )}
      </figcaption>
    </figure>
  );
}

interface ExcursionProps {
  one: Excursion;
  x: (at: number) => number;
  y: (count: number) => number;
  colour: number;
  isHovered: boolean;
}

function Excursion({ one, x, y, colour, isHovered }: ExcursionProps) {
  const [left, right] = [x(one.at), x(one.end)];
  const path = `M${left} ${y(one.from)}V${y(one.to)}H${right}V${y(one.from)}`;
  return (
    <g class={`excursion author-${colour}${isHovered ? ' hovered' : ''}`}>
      <path d={path} />
      <circle cx={left} cy={y(one.to)} r={isHovered ? 5 : 3.5} />
    </g>
  );
}

export function Legend({ colours }: { colours: Map<string, number> }) {
  const shown = [...colours].slice(0, COLOURS);
  return (
    <span class="legend">
      <span><i class="key set" />Set</span>
      {shown.map(([name, colour]) => (
        <span key={name}><i class={`key author-${colour}`} />{author(name)}</span>
      ))}
      {colours.size > COLOURS && <span class="quiet">and {colours.size - COLOURS} more</span>}
    </span>
  );
}

/** Lines of steps; a line ends where nothing is managed. */
function steps(desired: Story['desired']): { at: number; count: number }[][] {
  const lines: { at: number; count: number }[][] = [[]];
  desired.forEach(({ at, count }, index) => {
    const previous = desired[index - 1]?.count ?? null;
    if (previous !== null) lines.at(-1)!.push({ at, count: previous });
    if (count === null) lines.push([]);
    else lines.at(-1)!.push({ at, count });
  });
  return lines.filter((line) => line.length);
}

function nearest(story: Story, x: (at: number) => number, pixel: number): Event | null {
  let best: [number, Event] | null = null;
  for (const { at, event } of [...story.excursions, ...story.marks]) {
    const distance = Math.abs(x(at) - pixel);
    if (distance < 12 && (!best || distance < best[0])) best = [distance, event];
  }
  return best?.[1] ?? null;
}

/** Counts with a line, from 0 to at least `max`. */
function ticks(max: number): number[] {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000].find((step) => max / step <= 4) ?? max;
  const last = Math.ceil((max * 1.05) / step);
  return Array.from({ length: last + 1 }, (_, index) => index * step);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800].map((seconds) => seconds * 1000);

function timeTicks(from: number, to: number, pixels: number): { at: number; text: string }[] {
  const step = STEPS.find((step) => ((to - from) / step) * 78 < pixels) ?? STEPS.at(-1)!;
  const format = new Intl.DateTimeFormat(undefined, {
    ...(step >= 86_400_000 ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit', hour12: false }),
    ...(step < 60_000 && { second: '2-digit' }),
  });
  const offset = new Date(from).getTimezoneOffset() * 60_000;
  const found = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at < to; at += step) found.push({ at, text: format.format(at) });
  return found;
}

function useWidth(box: { current: HTMLDivElement | null }): number {
  const [width, setWidth] = useState(480);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** Preact listens passively, so a listener of its own has to keep the page from scrolling. */
function useWheel(box: { current: HTMLDivElement | null }, wheel: (event: WheelEvent) => boolean) {
  const latest = useRef(wheel);
  latest.current = wheel;
  useEffect(() => {
    const element = box.current!;
    const listener = (event: WheelEvent) => latest.current(event) && event.preventDefault();
    element.addEventListener('wheel', listener, { passive: false });
    return () => element.removeEventListener('wheel', listener);
  }, []);
}
