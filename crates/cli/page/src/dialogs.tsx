// Changes of a setting. Each shows what it will do before it does it.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { call, Failure } from './api';
import type { Detail, SetAnswer, Undo } from './shapes';
import { author, change, count, time, title, until } from './words';

export type Action = 'set' | 'ignore' | 'enforce' | 'undo';

/** Time without a key before the server is asked what a change would do, in milliseconds. */
const PAUSE = 150;
const MAX_REASON = 1024;

interface Props {
  action: Action;
  detail: Detail;
  /** Given a text: the change was made. */
  close: (done?: string) => void;
}

export function Dialog(props: Props) {
  switch (props.action) {
    case 'set':
      return <SetDialog {...props} />;
    case 'ignore':
      return <IgnoreDialog {...props} />;
    case 'enforce':
      return <EnforceDialog {...props} />;
    case 'undo':
      return <UndoDialog {...props} />;
  }
}

const target = ({ namespace, name, kind }: Detail) => ({ namespace, name, kind });

interface Allowed {
  allowMissing?: true;
  allowAutoscaled?: true;
}

function SetDialog({ detail, close }: Props) {
  // As the dialog was opened: a change of somebody else meanwhile must be seen first.
  const [base, setBase] = useState(detail);
  const [replicas, setReplicas] = useState(String(base.desired ?? base.current ?? 1));
  const [reason, setReason] = useState('');
  const [allowed, setAllowed] = useState<Allowed>({});
  const [ms, setMs] = useState<number | null>(null);
  const [opened] = useState(Date.now());
  const holdUntil = ms === null ? null : opened + ms;
  const number = /^\d+$/.test(replicas) ? Number(replicas) : null;
  const request = (dryRun: boolean) =>
    call<SetAnswer>('set', { target: target(base), replicas: number, reason, generation: base.generation, dryRun, holdUntil, ...allowed });
  const [preview, failure] = usePreview(number === null ? null : () => request(true), [number, allowed, holdUntil, base.generation]);
  useEffect(() => {
    if (failure?.reason === 'GENERATION_MISMATCH') setBase(detail);
  }, [failure, detail]);

  return (
    <Frame
      title={`Set ${detail.name}`}
      verb={number === null ? 'Set' : `Set ${number}`}
      close={close}
      isReady={preview !== null}
      run={async () => {
        await request(false);
        return `${detail.name} is set to ${number}`;
      }}
    >
      <label>
        Count
        <input type="number" min="0" step="1" required autofocus value={replicas} onInput={(event) => setReplicas(event.currentTarget.value)} />
      </label>
      <label>
        How long
        <select value={String(ms)} onChange={(event) => setMs(event.currentTarget.value === 'null' ? null : Number(event.currentTarget.value))}>
          <option value="null">Until it is set again</option>
          {DURATIONS.map(({ label, ms }) => ms !== null && <option key={ms} value={ms}>{label}</option>)}
        </select>
      </label>
      <Reason value={reason} set={setReason} />
      {(failure?.reason === 'DEPLOYMENT_AUTOSCALED' || allowed.allowAutoscaled) && (
        <Check label="Set it although an autoscaler will fight with it" isOn={!!allowed.allowAutoscaled} set={(isOn) => setAllowed(without(allowed, 'allowAutoscaled', isOn))} />
      )}
      {(failure?.reason === 'DEPLOYMENT_NOT_FOUND' || allowed.allowMissing) && (
        <Check label="Store it although the workload does not exist" isOn={!!allowed.allowMissing} set={(isOn) => setAllowed(without(allowed, 'allowMissing', isOn))} />
      )}
      <Preview failure={number === null ? new Failure('Enter a count: 0, 1, 2, …', '', '') : failure}>
        {preview && <SetPreview detail={base} preview={preview} />}
      </Preview>
    </Frame>
  );
}

function SetPreview({ detail, preview }: { detail: Detail; preview: SetAnswer }) {
  const isIgnored = detail.enforcement === 'IGNORE';
  const { holdUntil, afterwards } = preview;
  return (
    <>
      <p class="change">Desired <b>{detail.desired === preview.newReplicas ? `stays ${count(preview.newReplicas)}` : change(detail.desired, preview.newReplicas)}</b></p>
      <p>
        {preview.oldReplicas === null
          ? 'The workload does not exist: the count is enforced once it is created.'
          : preview.oldReplicas === preview.newReplicas
            ? `The cluster already has ${count(preview.oldReplicas)}.`
            : isIgnored
              ? `The cluster has ${count(preview.oldReplicas)}, which stays: the setting is ignored.`
              : `The cluster has ${count(preview.oldReplicas)} and follows within moments.`}
      </p>
      {holdUntil !== null && <p>It ends at {until(holdUntil)}: {afterwards === null ? 'the workload is not managed then.' : `then ${afterwards} is in force again.`}</p>}
    </>
  );
}

const HOUR = 3600_000;
const DURATIONS = [
  { label: '30 minutes', ms: HOUR / 2 },
  { label: '2 hours', ms: 2 * HOUR },
  { label: '8 hours', ms: 8 * HOUR },
  { label: '24 hours', ms: 24 * HOUR },
  { label: 'Until somebody enforces it', ms: null },
];

function IgnoreDialog({ detail, close }: Props) {
  const [ms, setMs] = useState<number | null>(2 * HOUR);
  const [generation] = useState(detail.generation);
  const [opened] = useState(Date.now());
  const end = ms === null ? null : opened + ms;
  return (
    <Frame
      title={`Ignore drifts of ${detail.name}`}
      verb="Ignore"
      close={close}
      isReady
      run={async () => {
        await call('enforcement', { target: target(detail), isEnforced: false, until: end, generation });
        return end === null ? `${detail.name} is ignored` : `${detail.name} is ignored until ${until(end)}`;
      }}
    >
      <fieldset>
        <legend>How long</legend>
        {DURATIONS.map(({ label, ms: choice }) => (
          <label key={label} class="choice">
            <input type="radio" name="duration" checked={ms === choice} autofocus={choice === 2 * HOUR} onChange={() => setMs(choice)} />
            {label}
          </label>
        ))}
      </fieldset>
      <Preview failure={null}>
        <p class="change">{end === null ? <b>Ignored until somebody enforces it</b> : <>Ignored <b>until {until(end)}</b>, then enforced again</>}</p>
        <p>
          The desired count stays {count(detail.desired)}. Drifts are seen and counted, and not repaired: the cluster keeps its{' '}
          {count(detail.current)} until somebody changes it.
        </p>
      </Preview>
    </Frame>
  );
}

function EnforceDialog({ detail, close }: Props) {
  const [generation] = useState(detail.generation);
  return (
    <Frame
      title={`Enforce ${detail.name}`}
      verb="Enforce"
      close={close}
      isReady
      run={async () => {
        await call('enforcement', { target: target(detail), isEnforced: true, until: null, generation });
        return `${detail.name} is enforced`;
      }}
    >
      <Preview failure={null}>
        <EnforcePreview detail={detail} />
      </Preview>
    </Frame>
  );
}

function EnforcePreview({ detail }: { detail: Detail }) {
  const isSame = detail.current === detail.desired;
  return (
    <>
      <p class="change">Enforced <b>from now on</b></p>
      <p>{isSame ? `The cluster already has ${count(detail.desired)}.` : `The cluster has ${count(detail.current)}, and is put back to ${count(detail.desired)} within moments.`}</p>
    </>
  );
}

function UndoDialog({ detail, close }: Props) {
  const [base] = useState(detail);
  const [plan, setPlan] = useState<Undo | null>(null);
  const [planFailure, setPlanFailure] = useState<Failure | null>(null);
  const [reason, setReason] = useState('');
  useEffect(() => {
    call<Undo>('undo', target(base)).then((plan) => {
      setPlan(plan);
      if (plan.change) setReason(`undo: ${title(plan.change.what).toLowerCase()} by ${author(plan.change.by)}`);
    }, setPlanFailure);
  }, []);
  const set = (dryRun: boolean) =>
    call<SetAnswer>('set', { target: target(base), replicas: plan?.action === 'set' ? plan.replicas : 0, reason, generation: base.generation, dryRun, holdUntil: null, allowMissing: true, allowAutoscaled: true });
  const [preview, setFailure] = usePreview(plan?.action === 'set' ? () => set(true) : null, [plan]);
  const run = async () => {
    const at = { target: target(base), generation: base.generation };
    if (plan?.action === 'set') await set(false);
    if (plan?.action === 'delete') await call('delete', at);
    if (plan?.action === 'enforce') await call('enforcement', { ...at, isEnforced: true, until: null });
    if (plan?.action === 'ignore') await call('enforcement', { ...at, isEnforced: false, until: plan.until });
    return `The last change of ${base.name} is undone`;
  };
  const isReady = plan !== null && (plan.action === 'set' ? preview !== null : plan.action !== 'unknown');
  return (
    <Frame title={`Undo the last change of ${base.name}`} verb="Undo" close={close} isReady={isReady} run={run}>
      {plan?.change && (
        <p>
          {title(plan.change.what)}{plan.change.what === 'SET' && ` ${change(plan.change.from, plan.change.to)}`} by <b>{author(plan.change.by)}</b>, {time(plan.change.at)}
          {plan.change.what === 'SET' && plan.change.reason && <q>{plan.change.reason}</q>}
        </p>
      )}
      {plan?.action === 'set' && <Reason value={reason} set={setReason} />}
      <Preview failure={planFailure ?? setFailure}>{plan && <UndoPreview plan={plan} detail={base} preview={preview} />}</Preview>
    </Frame>
  );
}

function UndoPreview({ plan, detail, preview }: { plan: Undo; detail: Detail; preview: SetAnswer | null }) {
  switch (plan.action) {
    case 'set':
      return preview && <SetPreview detail={detail} preview={preview} />;
    case 'delete':
      return <><p class="change"><b>Not managed any more</b></p><p>The setting is deleted. The cluster keeps its {count(detail.current)}.</p></>;
    case 'enforce':
      return <EnforcePreview detail={detail} />;
    case 'ignore':
      return <><p class="change">Ignored {plan.until === null ? 'until somebody enforces it' : `until ${until(plan.until)}`}</p><p>Drifts are seen and counted, and not repaired.</p></>;
    case 'unknown':
      return <p>The history does not say what was before.</p>;
  }
}

function without<K extends keyof Allowed>(allowed: Allowed, name: K, isOn: boolean): Allowed {
  const { [name]: _, ...rest } = allowed;
  return isOn ? { ...rest, [name]: true } : rest;
}

function Check({ label, isOn, set }: { label: string; isOn: boolean; set: (isOn: boolean) => void }) {
  return (
    <label class="choice">
      <input type="checkbox" checked={isOn} onChange={(event) => set(event.currentTarget.checked)} />
      {label}
    </label>
  );
}

function Reason({ value, set }: { value: string; set: (reason: string) => void }) {
  return (
    <label>
      <span>Reason <span class="quiet">for later readers</span></span>
      <input type="text" maxLength={MAX_REASON} value={value} onInput={(event) => set(event.currentTarget.value)} />
    </label>
  );
}

function Preview({ failure, children }: { failure: Failure | null; children: ComponentChildren }) {
  return (
    <div class={failure ? 'preview refused' : 'preview'} aria-live="polite">
      {failure ? <p>{failure.message}</p> : children}
    </div>
  );
}

/** Asks the server what a change would do. */
function usePreview(ask: (() => Promise<SetAnswer>) | null, inputs: unknown[]): [SetAnswer | null, Failure | null] {
  const [outcome, setOutcome] = useState<[SetAnswer | null, Failure | null]>([null, null]);
  useEffect(() => {
    let isOld = false;
    setOutcome(([, failure]) => [null, failure]);
    const timer = setTimeout(() => {
      ask?.().then(
        (answer) => isOld || setOutcome([answer, null]),
        (failure) => isOld || setOutcome([null, failure]),
      );
    }, PAUSE);
    return () => {
      isOld = true;
      clearTimeout(timer);
    };
  }, inputs);
  return outcome;
}

interface FrameProps {
  title: string;
  verb: string;
  isReady: boolean;
  close: (done?: string) => void;
  run: () => Promise<string>;
  children: ComponentChildren;
}

function Frame({ title, verb, isReady, close, run, children }: FrameProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isRunning, setRunning] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current!.showModal();
    return () => before?.focus();
  }, []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setRunning(true);
    setFailure(null);
    try {
      close(await run());
    } catch (error) {
      setFailure(error as Failure);
      setRunning(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onCancel={() => close()}>
      <form onSubmit={submit}>
        <h2 id="dialog-title">{title}</h2>
        {children}
        {failure && <p class="alert bad" role="alert">{failure.message}</p>}
        <div class="actions">
          <button type="button" onClick={() => close()}>Cancel</button>
          <button type="submit" class="primary" disabled={!isReady || isRunning}>{verb}</button>
        </div>
      </form>
    </dialog>
  );
}
