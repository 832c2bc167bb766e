// What happened in the whole scope: who drifts most, when, and the latest events.

import { useMemo } from 'preact/hooks';

import { History } from './history';
import { useModel, useNow, WEEK } from './model';
import type { Author, Drifts, Target } from './shapes';
import { ago, author, CERTAINTY, plural } from './words';

const DAY = 24 * 3600 * 1000;
const DAYS = WEEK / DAY;
/** Steps of colour. */
const HEATS = 5;
const AUTHORS = 8;

export function Overview({ open }: { open: (target: Target) => void }) {
  const { drifts, feed } = useModel();
  const now = useNow(5000);
  return (
    <section class="panel" aria-label="Overview">
      <h2>Who drifts most <span class="quiet">last 7 days</span></h2>
      {drifts ? <Authors drifts={drifts} now={now} /> : <p class="quiet">Reading…</p>}
      <h2>When <span class="quiet">drifts by hour</span></h2>
      {drifts && <Heat slots={drifts.slots} now={now} />}
      <h2>Latest</h2>
      <History events={feed} now={now} open={open} />
    </section>
  );
}

function Authors({ drifts, now }: { drifts: Drifts; now: number }) {
  if (!drifts.count) return <p class="quiet">Nothing has drifted.</p>;
  const most = drifts.authors[0]!.drifts;
  const rest = drifts.authors.length - AUTHORS;
  return (
    <>
      <ol class="authors">
        {drifts.authors.slice(0, AUTHORS).map((one) => <AuthorBar key={one.by + one.certainty} one={one} most={most} now={now} />)}
      </ol>
      {rest > 0 && <p class="quiet">and {plural(rest, 'other')}</p>}
      {drifts.isCut && <p class="quiet">Of the newest {drifts.count.toLocaleString('en')} drifts.</p>}
    </>
  );
}

function AuthorBar({ one, most, now }: { one: Author; most: number; now: number }) {
  return (
    <li>
      <span class="who" title={CERTAINTY[one.certainty]}>
        {author(one.by)}
        {one.certainty === 'SUSPECTED' && <span class="quiet"> suspected</span>}
      </span>
      <span class="quiet">{plural(one.targets, 'workload')}, {ago(one.last, now)}</span>
      <span class="number">{one.drifts.toLocaleString('en')}</span>
      <svg class="bar" height="4" width="100%" aria-hidden="true">
        <rect width="100%" height="4" rx="2" />
        <rect class="part" width={`${Math.max(1, (100 * one.drifts) / most)}%`} height="4" rx="2" />
      </svg>
    </li>
  );
}

const dayName = new Intl.DateTimeFormat(undefined, { weekday: 'short' });
const dayLabel = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

function Heat({ slots, now }: { slots: [number, number][]; now: number }) {
  const today = new Date(now).toDateString();
  const days = useMemo(() => heat(slots, now), [slots, today]);
  const most = Math.max(1, ...days.flatMap((day) => day.hours));
  const step = (drifts: number) => (drifts ? Math.max(1, Math.ceil((drifts / most) * HEATS)) : 0);
  return (
    <table class="heat">
      <caption class="hidden">Drifts of the last 7 days by day and hour</caption>
      <thead>
        <tr>
          <td />
          {Array.from({ length: 24 }, (_, hour) => (
            <th key={hour} scope="col"><span class={hour % 6 ? 'hidden' : ''}>{String(hour).padStart(2, '0')}</span></th>
          ))}
        </tr>
      </thead>
      <tbody>
        {days.map(({ date, hours }) => (
          <tr key={date.getTime()}>
            <th scope="row">{dayName.format(date)}</th>
            {hours.map((drifts, hour) => (
              <td key={hour} class={`heat-${step(drifts)}`} title={`${dayLabel.format(date)}, ${hour}–${hour + 1} h: ${plural(drifts, 'drift')}`}>
                <span class="hidden">{drifts}</span>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Drifts by local day, oldest first, and hour. */
function heat(slots: [number, number][], now: number): { date: Date; hours: number[] }[] {
  const days = Array.from({ length: DAYS }, (_, index) => {
    const date = new Date(now);
    date.setHours(0, 0, 0, 0);
    date.setDate(date.getDate() - (DAYS - 1 - index));
    return { date, hours: new Array<number>(24).fill(0) };
  });
  const byDay = new Map(days.map((day) => [day.date.toDateString(), day.hours]));
  for (const [start, drifts] of slots) {
    const date = new Date(start);
    const hours = byDay.get(date.toDateString());
    if (hours) hours[date.getHours()]! += drifts;
  }
  return days;
}
