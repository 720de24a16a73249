/** Waveforms: peaks from the server, read when a card comes into view, drawn as thin bars. */

import { call } from './api.js';

const BAR = 2; // CSS pixels
const GAP = 1;

/** @type {Map<string, Promise<{seconds: number|undefined, peaks: number[]}>>} */
const cache = new Map();

/** @param {import('./api.js').Job} job @returns {Promise<{seconds: number|undefined, peaks: number[]}>} */
export function peaksOf(job) {
  if (!job.peaks) return Promise.resolve(flatOf(job));
  if (!cache.has(job.id)) cache.set(job.id, call('GET', job.peaks).then(checked).catch(() => {
    cache.delete(job.id); // read again when it is looked at again
    return flatOf(job);
  }));
  return cache.get(job.id);
}

/** A flat line; how long the sound is may be known from its request. */
function flatOf({ request }) {
  return { seconds: isLength(request.seconds) ? request.seconds : undefined, peaks: [0.02, 0.02] };
}

const isLength = (seconds) => Number.isFinite(seconds) && seconds > 0;

function checked({ seconds, peaks }) {
  if (!isLength(seconds) || !Array.isArray(peaks) || !peaks.length || !peaks.every(Number.isFinite)) throw new TypeError('no peaks');
  return { seconds, peaks };
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    const canvas = /** @type {HTMLCanvasElement & {job: any}} */ (target);
    peaksOf(canvas.job).then(({ peaks }) => drawBars(canvas, peaks, '#c9b6ea'));
  }
}, { rootMargin: '200px' });

/** Draws the waveform of a job once the canvas is near the view. */
export function drawWhenSeen(canvas, job) {
  canvas.job = job;
  seen.observe(canvas);
}

/**
 * A canvas's context, cleared, with as many pixels as the screen has there; null where it is not shown.
 * @param {HTMLCanvasElement} canvas
 * @returns {?{context: CanvasRenderingContext2D, width: number, height: number}} sizes in CSS pixels
 */
export function prepared(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !height) return null;
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  return { context, width, height };
}

/** @param {HTMLCanvasElement} canvas @param {number[]} peaks magnitudes @param {string} colour */
export function drawBars(canvas, peaks, colour) {
  const place = prepared(canvas);
  if (!place) return;
  const { context, width, height } = place;
  context.fillStyle = colour;
  const bars = Math.floor(width / (BAR + GAP));
  const loudest = Math.max(...peaks, 0.05);
  for (let bar = 0; bar < bars; bar += 1) {
    const from = Math.floor((bar / bars) * peaks.length);
    const to = Math.max(from + 1, Math.floor(((bar + 1) / bars) * peaks.length));
    const size = Math.max(1.5, (Math.max(...peaks.slice(from, to)) / loudest) * (height - 8));
    context.fillRect(bar * (BAR + GAP), (height - size) / 2, BAR, size);
  }
}
