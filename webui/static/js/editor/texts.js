/** What the editor says. */

import { mixName, short } from '../format.js';

const seconds = (value) => `${short(Math.round(value * 100) / 100)} s`;
const decibels = (value) => `${value < 0 ? '\u2212' : ''}${Math.abs(value).toFixed(1)}`;

export const COMPARE = {
  full: 'Four clips are compared already; take one out first.',
  unreadable: 'One of these clips cannot be read: their loudness is as it is.',
  more: 'Choose one more to compare.',
  end: 'Compare no more',
  lowered: (loudness, gain) => (Number.isFinite(loudness) ? `${decibels(loudness)} LUFS, played at ${decibels(gain)} dB` : 'silent'),
};

/** @type {Record<string, {label: string, hint: string, button: string}>} */
export const TOOLS = {
  anew: { label: 'Make anew', hint: 'Drag over what shall be made anew, in several places if you like; everything else stays as it is, to the sample.', button: 'Make it anew' },
  extend: { label: 'Extend', hint: 'Drag the ends outwards: something is made before and after, and the clip stays as it is.', button: 'Extend' },
  reshape: { label: 'Reshape', hint: 'All of the clip is changed: a little, or until nothing of it is left. With the settings on the left, it is played by their mix.', button: 'Reshape' },
  vary: { label: 'Variations', hint: 'Four clips near this one: the same settings, its noise turned a little in four directions.', button: 'Make four variations' },
  loop: { label: 'Loop', hint: 'A clip of this seed and length whose end goes on into its beginning.', button: 'Make a loop' },
  mix: { label: 'Mix over time', hint: 'It begins in one mix and ends in another.', button: 'Make it' },
};

export const EDITOR = {
  heading: (title) => `Edit: ${title}`,
  close: 'Close the editor',
  versions: 'Versions',
  back: 'Back to the version before',
  zoomIn: 'Zoom in (+)',
  zoomOut: 'Zoom out (\u2212)',
  whole: 'Show all of it (0)',
  repeat: 'Repeat',
  seam: 'Hear the seam',
  shown: 'Part of the clip that is shown',
  playhead: 'Place in the clip',
  of: (now, all) => `${now.toFixed(2)} of ${all.toFixed(2)} s`,
  regions: 'Regions',
  region: (number) => `Region ${number}`,
  start: (number) => `Start of region ${number}`,
  end: (number) => `End of region ${number}`,
  remove: (number) => `Remove region ${number}`,
  addRegion: 'Add a region here',
  noRegion: 'Drag over the part that shall be made anew first.',
  before: 'Seconds before',
  after: 'Seconds after',
  beforeHandle: 'What is made before the clip',
  afterHandle: 'What is made after the clip',
  noExtension: 'Drag an end outwards first.',
  strength: 'Change',
  strengthHint: '0: nothing; 1: all of it is made from noise',
  variation: 'Distance',
  variationHint: '0: the same clip; 1: another seed',
  mixStart: 'It begins as',
  mixEnd: 'and ends as',
  takeMix: 'Take the mix on the left',
  settings: 'Settings',
  ofClip: 'of the clip',
  ofInstrument: 'on the left',
  asking: 'Waiting for the model \u2026',
  forming: (text) => `Forming: ${text}`,
  none: 'Nothing came of it.',
  ready: (count) => (count > 1 ? `${count} versions are ready: keys 1 to ${count} go from one to another.` : 'The new version is ready: key 1 plays the one before, key 2 the new one.'),
  unreadable: 'This clip cannot be read; its file may be gone.',
  notLoop: 'This clip was not made as a loop: repeated, it may click where it begins again.',
  seamText: (ratio) => (ratio < 2 ? `The seam is as smooth as the rest: the step across it is ${short(Math.round(ratio * 10) / 10)} times a usual one.` : `The step across the seam is ${short(Math.round(ratio * 10) / 10)} times a usual one.`),
  seamPicture: 'The last and the first 20 milliseconds, side by side',
  keys: 'In the editor: [ and ] begin and end a region at the playhead, + \u2212 and 0 zoom, arrows on the playhead move it.',
};

/** How a version came out of the one before, in a few words. @param {import('../api.js').Job} job */
export function origin(job) {
  const { source, inpaint = [], extend_before: before = 0, extend_after: after = 0, games_end: end, loop, variation_strength: varied } = job.request;
  if (!job.parent) return 'First version';
  if (inpaint.length) return `anew ${inpaint.map(([start, stop]) => `${short(Math.round(start * 100) / 100)}\u2013${seconds(stop)}`).join(', ')}`;
  if (before || after) return [before && `${seconds(before)} before`, after && `${seconds(after)} after`].filter(Boolean).join(', ');
  if (varied) return `variation, distance ${short(varied)}`;
  if (end) return `ends as ${mixName(end)}`;
  if (loop) return 'loop';
  if (source) return `reshaped, change ${short(source.strength ?? 0.6)}`;
  return 'new version';
}
