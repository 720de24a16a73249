/** What each tool asks the server for: requests that start from a clip, or from its seed and settings. */

import { WITHOUT_SOURCE } from '../controls/keys.js';
import { randomSeed } from '../random.js';

/** @typedef {import('../api.js').Job} Job @typedef {Record<string, any>} Settings */
/** @typedef {{start: number, end: number}} Region in seconds */

const COPIES = 4;
export const LONGEST = 600; // seconds of a clip with all that is made around it

/** Fields that say what a clip is made from; each tool says its own. */
const PLAIN = { ...WITHOUT_SOURCE, loop: false, games_end: null, variation_seed: null, variation_strength: 0 };

/** Settings without length, which a source has of its own; ten microseconds are finer than a sample. */
const from = ({ seconds, ...settings }, changes) => ({ ...settings, ...PLAIN, ...changes });
const rounded = (seconds) => Math.round(seconds * 1e5) / 1e5;

/** @param {Job} job @param {Settings} settings @param {Region[]} regions */
export const anew = (job, settings, regions) => [from(settings, {
  seed: randomSeed(), source: { job: job.id }, inpaint: regions.map(({ start, end }) => [rounded(start), rounded(end)]),
})];

/** @param {Job} job @param {Settings} settings @param {number} before @param {number} after seconds */
export const extended = (job, settings, before, after) => [from(settings, {
  seed: randomSeed(), source: { job: job.id }, extend_before: rounded(before), extend_after: rounded(after),
})];

/** @param {Job} job @param {Settings} settings @param {number} strength from 0, nothing is changed, to 1 */
export const reshaped = (job, settings, strength) => [from(settings, { seed: randomSeed(), source: { job: job.id, strength } })];

/** Four clips around one: its own request, its noise turned a little towards that of other seeds. */
export const variations = (job, strength) => Array.from({ length: COPIES }, () => ({
  ...job.request, variation_seed: randomSeed(), variation_strength: strength,
}));

/** A clip of the same seed and length whose end goes on into its beginning. */
export const looped = (job, settings, seconds) => [{ ...from(settings, { seed: job.request.seed, loop: true }), seconds: rounded(seconds) }];

/** From one mix to another along time, from the clip itself or, at strength 1, from its seed. */
export function mixed(job, settings, { games, end, strength, seconds }) {
  const mixes = { games, games_end: end };
  if (strength < 1) return [from(settings, { ...mixes, seed: randomSeed(), source: { job: job.id, strength } })];
  return [{ ...from(settings, { ...mixes, seed: job.request.seed }), seconds: rounded(seconds) }];
}
