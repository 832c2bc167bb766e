// Small pictures: states differ by shape, not only by colour.

import type { JSX } from 'preact';

import type { State } from './shapes';
import { stateLabel, STATES } from './words';

const line = { fill: 'none', stroke: 'currentColor', 'stroke-width': 1.7, 'stroke-linecap': 'round', 'stroke-linejoin': 'round' } as const;

const SHAPES: Record<State, JSX.Element> = {
  IN_SYNC: <><circle cx="8" cy="8" r="6.2" {...line} /><path d="M5.4 8.2l1.8 1.8 3.4-3.8" {...line} /></>,
  DRIFTED: <path d="M8 2.2l6.2 11.2H1.8z M8 6.6v3.2 M8 11.7v.1" {...line} />,
  CONTESTED: <path d="M2 5.4h9.6 M9 2.6l2.8 2.8L9 8.2 M14 10.6H4.4 M7 7.8l-2.8 2.8L7 13.4" {...line} />,
  MISSING: <><circle cx="8" cy="8" r="6.2" {...line} stroke-dasharray="2.4 2.6" /><path d="M8 5v3.6 M8 11v.1" {...line} /></>,
  AUTOSCALED: <path d="M8 1.8L14.2 8 8 14.2 1.8 8z M5.6 9.2L8 6.8l2.4 2.4" {...line} />,
  IGNORED: <><circle cx="8" cy="8" r="6.2" {...line} /><path d="M6.4 5.8v4.4 M9.6 5.8v4.4" {...line} /></>,
  UNMANAGED: <circle cx="8" cy="8" r="6.2" {...line} stroke-dasharray="1 2.8" />,
  UNKNOWN: <><circle cx="8" cy="8" r="6.2" {...line} /><path d="M6.2 6.4a1.8 1.8 0 1 1 2.5 1.7c-.5.2-.7.5-.7 1 M8 11.3v.1" {...line} /></>,
  UNSUPPORTED: <path d="M2.6 2.6h10.8v10.8H2.6z M5.6 5.6l4.8 4.8 M10.4 5.6l-4.8 4.8" {...line} />,
  OUT_OF_SCOPE: <><circle cx="8" cy="8" r="6.2" {...line} /><path d="M3.8 12.2l8.4-8.4" {...line} /></>,
};

export function Mark({ state }: { state: State }) {
  return (
    <svg class={`mark state-${state}`} viewBox="0 0 16 16" aria-hidden="true">
      {SHAPES[state]}
    </svg>
  );
}

export function StateLabel({ state }: { state: State }) {
  return (
    <span class="state" title={STATES.find((one) => one.state === state)?.help}>
      <Mark state={state} />
      {stateLabel(state)}
    </span>
  );
}

const ICONS = {
  close: 'M4 4l8 8 M12 4l-8 8',
  search: 'M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9z M10.4 10.4l3.4 3.4',
  plus: 'M8 3.5v9 M3.5 8h9',
  minus: 'M3.5 8h9',
  reset: 'M3 8a5 5 0 1 0 1.6-3.7 M4.4 1.9v2.6H7',
  up: 'M8 12.5v-9 M4.5 7L8 3.5 11.5 7',
  down: 'M8 3.5v9 M4.5 9L8 12.5 11.5 9',
} as const;

export function Icon({ name }: { name: keyof typeof ICONS }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={ICONS[name]} {...line} />
    </svg>
  );
}
