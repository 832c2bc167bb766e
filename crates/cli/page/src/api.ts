// Calls of the local server. The token is in the address of the page, and goes into a header that no other site can send.

import type { Changes, Event } from './shapes';

const token = new URLSearchParams(location.search).get('token') ?? '';

/** Why a call failed. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly reason: string,
  ) {
    super(message);
  }
}

const UNREACHABLE = 'kubectl replicas ui has ended. Start it again, and open the address that it prints.';

async function post(name: string, body: unknown, signal: AbortSignal | null): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`/api/${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(UNREACHABLE, 'Gone', '');
  }
  if (response.ok) return response;
  const text = await response.text();
  try {
    const { message, code, reason } = JSON.parse(text);
    throw new Failure(message, code, reason);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(text.trim(), `HTTP ${response.status}`, '');
  }
}

export async function call<T>(name: string, body: unknown = {}): Promise<T> {
  return (await post(name, body, null)).json();
}

export interface Listener {
  rows(changes: Changes): void;
  event(event: Event): void;
  live(): void;
  lost(failure: Failure): void;
}

/** Listens until `signal` is aborted. The local server connects again by itself; only its own end ends the stream. */
export async function listen(namespace: string, listener: Listener, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const response = await post('stream', { namespace }, signal);
      await read(response, (name, data) => {
        if (signal.aborted) return;
        if (name === 'lost') {
          listener.lost(new Failure(data.message, data.code, data.reason));
        } else {
          listener[name as 'rows' | 'event' | 'live'](data);
        }
      });
      throw new Failure(UNREACHABLE, 'Gone', '');
    } catch (error) {
      if (signal.aborted) return;
      listener.lost(error instanceof Failure ? error : new Failure(UNREACHABLE, 'Gone', ''));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function read(response: Response, receive: (name: string, data: any) => void): Promise<void> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (rest + value).split('\n\n');
    rest = messages.pop()!;
    for (const message of messages) {
      const [name, data] = message.split('\n');
      receive(name!.slice('event: '.length), JSON.parse(data!.slice('data: '.length)));
    }
  }
}
