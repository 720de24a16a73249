/** The server: calls that throw readable errors, and the socket that tells what happens. */

/**
 * @typedef {{games: Record<string, number>, seed: number, seconds: number, steps: number, cfg_scale: number,
 *   sampler: string, schedule: string, sampler_options?: Record<string, any>}} Request
 * @typedef {{id: string, status: string, progress: number, text: ?string, error: ?string, missing: boolean,
 *   request: Request, position: number, created: number, started: ?number, finished: ?number, file: ?string,
 *   title: string, starred: boolean, binned: boolean, audio: ?string, peaks: ?string, spectrogram: ?string,
 *   preview: ?string}} Job
 * @typedef {{id: number, name: string, tracks: number}} Game
 */

/** A refusal by the server, or its absence; `field` names what it is about. */
export class ApiError extends Error {
  /** @param {string} message @param {?string} field @param {number} status */
  constructor(message, field, status) {
    super(message);
    Object.assign(this, { field, status });
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: any, headers?: Record<string, string>}} [options]
 * @returns {Promise<any>}
 */
export async function call(method, path, { body, headers = {} } = {}) {
  const init = { method, headers: { ...headers } };
  if (body !== undefined) {
    init.headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new ApiError('The server does not answer. Is it still running?', null, 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(answer.error ?? `The server answered ${response.status}.`, answer.field, response.status);
  return answer;
}

/** A random key for one press of a button; works without a secure context too. */
export function randomKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-');
}

/**
 * Follows the server's events for as long as the page lives, connecting again after every break.
 * @param {{onEvent: (event: any) => void, onConnected: () => void, onLost: () => void}} handlers
 */
export function follow({ onEvent, onConnected, onLost }) {
  let delay = 500;
  const connect = () => {
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/events`);
    socket.onopen = () => {
      delay = 500;
      onConnected();
    };
    socket.onmessage = (message) => onEvent(JSON.parse(message.data));
    socket.onclose = () => {
      onLost();
      setTimeout(connect, delay);
      delay = Math.min(delay * 1.6, 5000);
    };
  };
  connect();
}
