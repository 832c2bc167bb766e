// Events as a list, newest first.

import type { Event, Target } from './shapes';
import { author, CERTAINTY, facts, link, time, title, tone } from './words';

interface Props {
  events: Event[];
  now: number;
  /** Given: the list is about many workloads, and names them. */
  open?: (target: Target) => void;
}

export function History({ events, now, open }: Props) {
  if (!events.length) return <p class="quiet">Nothing has happened yet.</p>;
  return (
    <ol class="history">
      {events.map((event) => (
        <li key={event.id} class={`tone-${tone(event.what)}`} data-what={event.what} data-by={event.by}>
          <time dateTime={event.at === null ? undefined : new Date(event.at).toISOString()}>{time(event.at, now)}</time>
          <div>
            {open && (
              <button type="button" class="link" onClick={() => open(event)}>
                {event.namespace}/<b>{event.name}</b>
              </button>
            )}{' '}
            <span class="what">{title(event.what)}</span> {facts(event)}
            <Who event={event} isShort={open !== undefined} />
            {event.reason && event.what === 'SET' && <q>{event.reason}</q>}
          </div>
        </li>
      ))}
    </ol>
  );
}

function Who({ event, isShort }: { event: Event; isShort: boolean }) {
  if (!event.by) return null;
  const through = [event.operation, event.subresource && `of ${event.subresource}`].filter(Boolean).join(' ');
  return (
    <span class="by" title={CERTAINTY[event.certainty]}>
      {' '}{link(event.what)} <b>{author(event.by)}</b>
      {through && !isShort && <span class="quiet"> ({through})</span>}
      {event.certainty === 'SUSPECTED' && <span class="quiet"> (suspected)</span>}
    </span>
  );
}
