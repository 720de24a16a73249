/** The server: calls that throw readable errors. */

import { address } from './address.js';
import { SERVER as TEXT } from './texts.js';

const PATIENCE = 30_000; // ms for an answer; a proxy that has lost the server may never give one

/**
 * @typedef {{games: Record<string, number>, seed: number, seconds: number, steps: number, cfg_scale: number,
 *   sampler: string, schedule: string, sampler_options?: Record<string, any>}} Request
 * @typedef {{id: string, status: string, progress: number, text: ?string, error: ?string, missing: boolean,
 *   request: Request, position: number, created: number, started: ?number, finished: ?number, file: ?string,
 *   title: string, notes: string, model: ?string, starred: boolean, binned: boolean, audio: ?string, peaks: ?string, spectrogram: ?string,
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
 * @param {{body?: any, file?: File, headers?: Record<string, string>, patience?: number}} [options] a `body` is sent as
 *   JSON, a `file` as it is; ms of patience
 * @returns {Promise<any>}
 */
export async function call(method, path, { body, file, headers = {}, patience = PATIENCE } = {}) {
  const init = { method, headers: { ...headers } };
  if (body !== undefined) {
    init.headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(body);
  }
  if (file !== undefined) {
    init.headers['Content-Type'] = 'application/octet-stream';
    init.body = file;
  }
  let response;
  try {
    response = await fetch(address(path), { ...init, signal: AbortSignal.timeout?.(patience) });
  } catch {
    throw new ApiError(TEXT.silent, null, 0);
  }
  const answer = await response.json().catch(() => null);
  const isObject = answer !== null && typeof answer === 'object';
  if (!response.ok) throw new ApiError(isObject && typeof answer.error === 'string' ? answer.error : TEXT.answered(response.status), answer?.field, response.status);
  if (!isObject) throw new ApiError(TEXT.other, null, 0);
  return answer;
}

/** The model and whether it can play. @returns {Promise<any>} */
export async function readHealth() {
  const health = await call('GET', '/api/health');
  if (!Array.isArray(health.games)) throw new ApiError(TEXT.other, null, 0);
  return health;
}
