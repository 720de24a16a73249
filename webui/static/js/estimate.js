/** How long a clip will take, from how long the last ones took. */

const JOBS = 8;
/** Of the network, per step; 1 for samplers not named. */
const EVALUATIONS = { heun: 2, dpm_2: 2, dpm_2_ancestral: 2, dpmpp_2s_ancestral: 2, dpmpp_sde: 2 };

/** The cost of a request in arbitrary units: network evaluations and decoding, both in proportion to the length. */
function cost(request) {
  const passes = (request.cfg_scale === 1 ? 1 : 2) + (request.guidance?.weak_ema && request.guidance.weak_scale !== 1 ? 1 : 0);
  return request.seconds * (request.steps * (EVALUATIONS[request.sampler] ?? 1) * (passes / 2) + 8);
}

/**
 * @param {import('./api.js').Job[]} history
 * @param {import('./api.js').Request} request
 * @returns {?number} seconds; null before the first clip
 */
export function predictedSeconds(history, request) {
  const done = history.filter((job) => job.status === 'done' && job.started && job.finished).slice(0, JOBS);
  const paces = done.map((job) => (job.finished - job.started) / cost(job.request)).filter((pace) => pace > 0 && Number.isFinite(pace)).sort((a, b) => a - b);
  if (!paces.length) return null;
  return paces[Math.floor(paces.length / 2)] * cost(request);
}

/** Remaining time of running jobs from their own progress, by this browser's clock. */
export class Remaining {
  /** @type {Map<string, {time: number, progress: number}>} */
  #first = new Map();

  /** @param {import('./api.js').Job} job @returns {?number} seconds */
  of(job) {
    const now = performance.now() / 1000;
    if (!this.#first.has(job.id) || this.#first.get(job.id).progress > job.progress) {
      this.#first.set(job.id, { time: now, progress: job.progress });
    }
    const { time, progress } = this.#first.get(job.id);
    const gained = job.progress - progress;
    return gained > 0.08 ? ((now - time) / gained) * (1 - job.progress) : null;
  }
}
