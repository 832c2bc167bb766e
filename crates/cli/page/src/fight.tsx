// A conflict as a picture: who changes the count, and how it is put back, round by round.

import type { Event } from './shapes';
import { author, count, plural, span } from './words';

/** Rounds in the picture. */
const ROUNDS = 7;
const STEP = 48;
/** From a drift to its repair. */
const SLANT = 18;
const TOP = 34;
const BOTTOM = 96;

interface Round {
  drift: Event;
  repair: Event | null;
}

/** The last rounds, oldest first. */
export function rounds(newestFirst: Event[]): Round[] {
  const found: Round[] = [];
  for (const event of newestFirst.toReversed()) {
    if (event.what === 'DRIFTED') found.push({ drift: event, repair: null });
    const last = found.at(-1);
    if (event.what === 'REPAIRED' && last && !last.repair) last.repair = event;
  }
  return found.slice(-ROUNDS);
}

interface Props {
  events: Event[];
  colours: Map<string, number>;
}

export function Fight({ events, colours }: Props) {
  const shown = rounds(events);
  if (shown.length < 2) return null;
  const last = shown.at(-1)!;
  const names = [...new Set(shown.map(({ drift }) => author(drift.by)))];
  const isOpen = !last.repair;
  const text = `The last ${plural(shown.length, 'round')}: ${names.join(', ')} against Replica Count Manager${isOpen ? ', not repaired yet' : ''}`;
  const width = 12 + shown.length * STEP + 20;
  return (
    <figure class="fight">
      <div class="lanes" aria-hidden="true">
        <span>{names.length === 1 ? names[0] : `${names.length} others`}</span>
        <span>put back</span>
      </div>
      <div class="rounds" tabIndex={0} role="group" aria-label={text}>
        <svg width={width} height="124" role="img" aria-label={text}>
          <line class="rule" x1="0" x2={width} y1={TOP} y2={TOP} />
          <line class="rule" x1="0" x2={width} y1={BOTTOM} y2={BOTTOM} />
          {shown.map(({ drift, repair }, index) => {
            const x = 16 + index * STEP;
            const next = shown[index + 1];
            const wait = repair ? repair.at! - drift.at! : null;
            const pause = repair && next ? next.drift.at! - repair.at! : null;
            return (
              <g key={drift.id} class={`author-${colours.get(drift.by) ?? 0}`}>
                {repair && <line class="answer" x1={x} y1={TOP} x2={x + SLANT} y2={BOTTOM} />}
                {next && <line class="attack" x1={repair ? x + SLANT : x} y1={repair ? BOTTOM : TOP} x2={x + STEP} y2={TOP} />}
                <circle cx={x} cy={TOP} r="5" />
                <text class="label" x={x} y={TOP - 13} text-anchor="middle">{count(drift.to)}</text>
                {repair && <circle class="repair" cx={x + SLANT} cy={BOTTOM} r="5" />}
                {repair && <text class="label" x={x + SLANT} y={BOTTOM + 21} text-anchor="middle">{count(repair.to)}</text>}
                {wait !== null && wait >= 1000 && <text class="gap" x={x + 13} y="60">{span(wait)}</text>}
                {pause !== null && pause >= 1000 && <text class="gap" x={x + 30} y="84">{span(pause)}</text>}
              </g>
            );
          })}
        </svg>
      </div>
    </figure>
  );
}
