// What the local server sends, as in ui/shapes.rs. Times and durations are milliseconds.

export type State =
  | 'UNKNOWN' | 'UNMANAGED' | 'IN_SYNC' | 'DRIFTED' | 'IGNORED' | 'MISSING' | 'OUT_OF_SCOPE' | 'CONTESTED'
  | 'AUTOSCALED' | 'UNSUPPORTED';

export interface Target {
  namespace: string;
  name: string;
  kind: string;
}

export interface WriteFailure {
  reason: string;
  code: number | null;
  message: string;
  since: number | null;
  nextTry: number | null;
  attempts: number;
}

export interface SteadyConflict {
  by: string;
  likelyBy: string;
  period: number | null;
  rounds: number;
}

export interface Row extends Target {
  state: State;
  desired: number | null;
  current: number | null;
  ready: number | null;
  /** When the desired count ends, because it is temporary. */
  holdUntil: number | null;
  /** With that: the desired count afterwards. `null`: not managed any more. */
  afterwards: number | null;
  stateReason: string;
  failure: WriteFailure | null;
  conflict: SteadyConflict | null;
}

export interface Drift {
  by: string;
  likelyBy: string;
  operation: string;
  subresource: string;
  at: number | null;
  from: number | null;
  to: number | null;
  podsLost: number | null;
}

export interface Detail extends Row {
  generation: number;
  setBy: string;
  setByCertainty: Certainty;
  setAt: number | null;
  reason: string;
  enforcement: 'MODE_UNSPECIFIED' | 'ENFORCE' | 'IGNORE';
  enforcementUntil: number | null;
  lastDrift: Drift | null;
  driftCount: number;
  observedAge: number | null;
  contest: { by: string; until: number | null } | null;
  autoscaler: string;
  guard: string;
  guarded: boolean;
}

export type What =
  | 'UNSPECIFIED' | 'SET' | 'DELETED' | 'ENFORCED' | 'IGNORED' | 'DRIFTED' | 'ANOTHER_SERVER' | 'REPAIRED' | 'APPLIED'
  | 'RESOLVED' | 'LATE_COST' | 'CONTESTED' | 'CALMED' | 'STEADY_CONFLICT' | 'STEADY_CONFLICT_ENDED' | 'MISSING'
  | 'AUTOSCALED' | 'WRITE_FAILED' | 'HOLD_ENDED';

export type Certainty = 'UNKNOWN' | 'PROVEN' | 'CLAIMED' | 'SUSPECTED';

export interface Event extends Target {
  id: number;
  what: What;
  at: number | null;
  generation: number;
  from: number | null;
  to: number | null;
  by: string;
  certainty: Certainty;
  operation: string;
  subresource: string;
  reason: string;
  message: string;
  code: number | null;
  took: number | null;
  wait: number | null;
  podsLost: number | null;
  times: number;
  until: number | null;
  autoscaler: string;
}

export interface Events {
  events: Event[];
  nextPageToken: string;
}

export interface Author {
  by: string;
  certainty: Certainty;
  drifts: number;
  targets: number;
  last: number | null;
}

export interface Drifts {
  count: number;
  authors: Author[];
  slots: [number, number][];
  isCut: boolean;
}

export interface About {
  version: string;
  server: string;
  user: string;
  namespace: string;
  ownNamespace: string;
}

export interface Changes {
  rows: Row[];
  gone: [string, string, string][];
}

export interface SetAnswer {
  oldReplicas: number | null;
  newReplicas: number | null;
  generation: number;
  holdUntil: number | null;
  afterwards: number | null;
}

export type Undo = { change: Event | null } & (
  | { action: 'set'; replicas: number }
  | { action: 'delete' | 'enforce' | 'unknown' }
  | { action: 'ignore'; until: number | null }
);

export const key = (target: Target) => `${target.namespace}/${target.kind}/${target.name}`;
