/**
 * All English of the page's scripts, so that it can be translated in one place; what stands on the page from the
 * beginning is in index.html. What the server says (refusals, help on settings, progress) comes from there as it is.
 */

import { mixName, short, sizeText } from './format.js';

// -- numbers and times --------------------------------------------------------------------------------------------

/** @param {number} number @returns {string} `10,000` */
export const grouped = (number) => number.toLocaleString('en');

/** @param {number} count @param {string} noun @returns {string} `1 clip`, `1,600 clips` */
export const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;

/** @param {number} seconds @returns {string} `1 min 5 s`, for screen readers */
export function spokenClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const minutes = Math.floor(whole / 60);
  return `${minutes ? `${minutes} min ` : ''}${whole % 60} s`;
}

/** @param {number} seconds @returns {string} `12 s`, `3 min` */
function lasting(seconds) {
  if (seconds < 1.5) return '1 s';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** @param {number} seconds @returns {string} `about 12 s` */
export const roughly = (seconds) => `about ${lasting(seconds)}`;

/** @param {?number} left seconds @returns {string} `about 12 s left`; empty where it is not known */
export const leftText = (left) => (left === null || left === undefined ? '' : `${roughly(left)} left`);

/** @param {number} time seconds since 1970 @returns {string} `2 min ago` */
export function ago(time) {
  const seconds = Date.now() / 1000 - time;
  if (seconds < 45) return 'just now';
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(time * 1000).toLocaleDateString();
}

/** @param {number} hours @returns {string} `12 h`, `25 min` */
export function hoursText(hours) {
  if (hours >= 10) return `${Math.round(hours)} h`;
  if (hours >= 1) return `${hours.toFixed(1)} h`;
  const minutes = hours * 60;
  return minutes >= 1 ? `${Math.round(minutes)} min` : `${Math.round(minutes * 60)} s`;
}

/** When it will be over, as a clock. @param {number} left seconds @param {number} [now] ms since 1970 */
export function endText(left, now = Date.now()) {
  const end = new Date(now + left * 1000);
  const time = end.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return end.toDateString() === new Date(now).toDateString() ? `until ${time}` : `until ${end.toLocaleDateString()} ${time}`;
}

const listed = (names) => (names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : names.join(''));
const seconds = (value) => `${short(Math.round(value * 100) / 100)} s`;
const decibels = (value) => `${value < 0 ? '\u2212' : ''}${Math.abs(value).toFixed(1)}`;

// -- the server and the model -------------------------------------------------------------------------------------

export const SERVER = {
  silent: 'The server does not answer. Is it still running?',
  answered: (status) => `The server answered ${status}.`,
  other: 'Something else answers at the address of the server.',
  away: 'The server does not answer; trying again …',
  again: (problem) => `${problem} Trying again …`,
};

export const HEALTH = {
  open: (text) => `${text}: show the models`,
  ready: (model, games, rate, ema) => [model, games && counted(games, 'game'), rate && `${rate / 1000} kHz`, ema].filter(Boolean).join(' · '),
  loading: (model) => `${model} is loading …`,
  later: (model, other) => `${model} is loaded after the clips that are waiting for ${other}`,
  silent: (model) => `${model} does not answer; it is restarted if it stays silent`,
  resting: (model) => `${model} waits: a training is using the device`,
  failed: (problem) => `The model cannot be loaded: ${problem}`,
  folder: 'Folder',
  games: 'Games',
  fingerprint: 'Fingerprint',
  clips: 'Clips',
};

export const MODELS = {
  cannot: 'cannot play yet',
  about: (games, shipped) => `${counted(games, 'game')}${shipped ? ' · comes with the program' : ''}`,
  plays: 'plays',
  training: 'Training',
  figures: 'Figures',
  card: 'Card',
  problem: (problem) => `It cannot be played: ${problem}.`,
  usual: (ema) => `as the model has it${ema ? ` (${ema})` : ''}`,
  raw: 'raw: without averaging',
  now: 'Plays now',
  play: 'Play this model',
  playWith: 'Play with these weights',
  weights: 'Weights',
  chosen: (model) => `${model} is chosen.`,
  folder: 'Folder',
  size: 'Size',
  more: (count) => `and ${grouped(count)} more`,
  search: 'Search games',
  searchLabel: 'Search the games of this model',
  games: (count) => `${counted(count, 'game')}, with their tracks`,
  allCurves: 'All curves:',
  thenOpen: ', then open localhost:6006.',
};

export const CHART = {
  training: 'training',
  validation: (kind) => (kind ? `validation, ${kind}` : 'validation'),
  samples: (seen, total) => (total ? `${grouped(seen)} of ${counted(total, 'sample')}` : counted(seen, 'sample')),
};

// -- the instrument -----------------------------------------------------------------------------------------------

export const MIXER = {
  weight: (game) => `Weight of ${game}`,
  weightNumber: (game) => `Weight of ${game}, as a number`,
  solo: (game) => `Solo ${game}`,
  hearOnly: (game) => `Hear only ${game}`,
  soloLetter: 'S',
  tracks: (count) => counted(count, 'track'),
  trained: (game, count) => `${game}: ${counted(count, 'track')} in training`,
  shares: (parts) => parts.map(({ name, share }) => `${name} ${Math.round(share * 100)} percent`).join(', ') || 'empty',
  mix: (start, end) => `The mix: ${start}${end ? `; at the end: ${end}` : ''}`,
  addOne: (count) => `Add one of ${counted(count, 'game')}`,
  notFound: 'No game has that name.',
  added: (game) => `${game} is in the mix.`,
};

export const PANEL = {
  parts: (names) => listed(names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} more`] : names),
  changed: (model) => `The model has changed: ${model}.`,
  other: (model) => `Another model answers now: ${model}.`,
  itLacks: (parts) => `It cannot do ${parts}: left out.`,
  modelLacks: (parts) => `This model cannot do ${parts}: left out.`,
  mixStays: 'The mix stays as it was.',
  estimate: (time) => `${roughly(time)} to make`,
  generating: 'Generating.',
  withoutEffect: (notes) => `Without effect: ${notes}.`,
};

/** @type {Record<string, {label: string, unit: string, hint?: string}>} */
export const PARAMETERS = {
  seconds: { label: 'Length', unit: 's' },
  steps: { label: 'Steps', unit: '', hint: 'More steps are slower and finer' },
  cfg_scale: { label: 'Guidance', unit: '×', hint: '1 is off; more follows the games more closely' },
};

/** Titles of the groups under "Everything". */
export const GROUPS = {
  sampler: 'Sampler', levels: 'Noise levels', guidance: 'Guidance', weights: 'Weights and arithmetic', variation: 'Variation', source: 'Source', other: 'Other',
};

/** Keys of a request that are not called as they are written. */
export const LABELS = {
  cfg_scale: 'Guidance', ema: 'Weights', rho: 'Rho', seconds: 'Length', games_end: 'Mix at the end', sampler_options: 'Sampler options',
  phase_iterations: 'Phase recovery', 'guidance.projected_parallel': 'Parallel part kept', 'guidance.projected_threshold': 'Largest difference',
  'guidance.projected_momentum': 'Momentum', 'guidance.weak_ema': 'Weaker weights', 'guidance.weak_scale': 'Autoguidance', 'guidance.scales': 'Scales by condition',
  'source.start': 'Source from', 'source.seconds': 'Source length', 'source.strength': 'Source strength', inpaint: 'Make anew', game: 'Game',
};

export const CONTROLS = {
  asUsual: 'as usual',
  usual: 'usual',
  aNumber: 'a number',
  words: { latents: 'noise of the latents' },
  on: 'on',
  off: 'off',
  none: 'none',
  all: 'all',
  to: 'to',
  noLimit: 'no limit',
  suchAs: 'such as 2-4, 6.5-8',
  number: (label) => `${label}, as a number`,
  from: (label) => `${label}, from`,
  upTo: (label) => `${label}, to`,
  part: (label, name) => `${label}: ${name}`,
  backTo: (label, value) => `${label}: back to ${value}`,
  point: (label, number, count) => `${label}, point ${number} of ${count}`,
  modes: { usual: 'usual', set: 'set', free: 'free' },
  mode: (label) => `${label}: usual, set or free`,
  numberHint: 'usual: as the games have it, another for each seed; set: the number beside; free: the model chooses',
  otherHint: 'usual: as the source has it, or nothing; set: what is chosen here; free: the model chooses',
  curve: (count, high, low, interval) => `${count} noise levels from ${high} to ${low}${interval ? `; guided from ${interval[0]} to ${interval[1]}` : ''}`,
  noCurve: 'This schedule follows what the model has learned: its curve is known only once a clip is made.',
};

export const PRESETS = {
  overwrite: 'Overwrite with the present settings:',
  rename: 'Rename',
  remove: 'Delete',
  isSet: (name) => `${name} is set.`,
  unnamed: 'Give it a name.',
  saved: (name) => `${name} is saved.`,
  overwritten: (name) => `${name} has the present settings.`,
  newName: (name) => `New name of ${name}`,
  deleted: (name) => `${name} is deleted.`,
};

export const GRID = {
  axis: ['Rows', 'Columns'],
  values: ['Values of what varies in rows, with commas between them', 'Values of what varies in columns, with commas between them'],
  none: 'nothing more',
  clips: (count, time) => `${counted(count, 'clip')}${time ? `, ${roughly(time)} to make` : ''}`,
  asked: (count) => `${counted(count, 'clip')} ${count === 1 ? 'is' : 'are'} asked for.`,
  earlier: 'Earlier sheets',
  sheet: (axes, count, time) => `${axes}, ${counted(count, 'clip')}, ${ago(time)}`,
  heading: (axes) => `Contact sheet: ${axes}`,
  waits: 'waits',
  gone: 'its file is gone',
};

export const SOURCE = {
  none: 'Nothing but noise. Bring in a file, or drop one anywhere, to start from it.',
  startsFrom: (name) => `Starts from ${name}.`,
  clip: 'a clip of the history',
  file: 'a file that was brought in',
  one: 'One file at a time, please.',
  busy: 'Another file is on its way; wait for it.',
  tooLarge: (name, mebibytes) => `${name} is larger than ${mebibytes} MiB.`,
  reading: (name) => `${name} is read.`,
  taken: (name, isCut) => `Clips start from ${name}${isCut ? ', of which the first ten minutes are kept' : ''}.`,
  settings: (name) => `The settings of ${name} are back.`,
  instead: 'Start from it instead',
};

// -- clips --------------------------------------------------------------------------------------------------------

export const UNDO = 'Undo';
/** Added for screen readers, which hear of a notice's button so. */
export const offered = (text, label) => `${text} ${label} is possible.`;

export const QUEUE = {
  showFewer: 'Show fewer',
  more: (count) => `and ${grouped(count)} more in the queue`,
  cancel: (title) => `Cancel ${title}`,
  cancelHint: 'Cancel (Esc)',
  progress: (title) => `Progress of ${title}`,
  place: (place, time) => `${place === 1 ? 'next' : `number ${place}`} in the queue${time ? `, takes ${roughly(time)}` : ''}`,
  starting: 'starting',
  left: (text, left) => (left === null ? text : `${text}, ${leftText(left)}`),
};

export const CARD = {
  outcomes: { failed: 'Failed', cancelled: 'Cancelled', interrupted: 'Interrupted' },
  loading: 'Loading',
  select: (title) => `Select ${title}`,
  playFromHere: 'Play from here',
  seconds: (count) => `${count} s`,
  seed: (seed) => `seed ${seed}`,
  steps: (count) => `${count} steps`,
  guidance: (scale) => `guidance ${scale}`,
  madeBy: (model) => `made by ${model}`,
  reuse: 'Use these settings',
  restore: 'Take out of the bin',
  bin: 'Delete (to the bin)',
  retry: 'Try again',
  download: 'Download',
  star: 'Star',
  starLabel: (title) => `Star ${title}`,
  edit: 'Edit',
  compare: 'Compare',
  note: 'Notes',
  takeHome: 'Take home as …',
  rename: 'Rename',
  name: 'Name of the clip',
};

export const HISTORY = {
  empty: {
    all: ['Nothing here yet.', 'Set the faders to taste and press Generate: the clip forms here and stays in this list.'],
    starred: ['No stars yet.', 'Press the star of a clip that you like, and it is kept here too.'],
    bin: ['The bin is empty.', 'Deleted clips wait here until you take them out again, or empty it.'],
  },
  notFound: ['Nothing is found.', 'No clip here has all of these words, this game and this model.'],
  allGames: 'All games',
  allModels: 'All models',
  clips: (count) => counted(count, 'clip'),
  selected: (count) => `${grouped(count)} selected`,
  areSelected: (count) => `${counted(count, 'clip')} ${count === 1 ? 'is' : 'are'} selected.`,
  selectAll: (count) => `Select all ${grouped(count)}`,
};

const clips = (count) => (count === 1 ? 'One clip' : counted(count, 'clip'));
const become = { bin: 'in the bin', restore: 'back', delete: 'deleted', star: 'starred', unstar: 'without a star', cancel: 'cancelled' };

export const ACTIONS = {
  became: (count, action) => `${clips(count)} ${count === 1 ? 'is' : 'are'} ${become[action]}.`,
  forGood: 'Delete for good?',
  forGoodText: (count) => `${clips(count)}, with the audio. This cannot be undone.`,
  remove: 'Delete',
  emptyBin: 'Empty the bin?',
  emptyBinGo: 'Empty the bin',
  cancelled: (title) => `${title} is cancelled.`,
  afterAll: 'Make it after all',
  takenIn: (count) => (count ? `${clips(count)} taken in from the outputs folder.` : 'Nothing new lies in the outputs folder.'),
  notesOn: (title) => `Notes on ${title}`,
  tooMany: (most, count) => `${most} clips at most can be taken home at once; ${grouped(count)} are selected.`,
  binned: (title) => `${title} is in the bin.`,
  reused: 'Settings taken over.',
  plays: (title) => `${title} plays.`,
  ready: (title, spacePlays) => `${title} is ready.${spacePlays ? ' Space plays it.' : ''}`,
  failed: (title, error) => `${title} failed: ${error}`,
  unplayable: 'This clip cannot be played; its file may be gone.',
  zip: (count) => `${counted(count, 'clip')}, as one zip`,
};

export const PLAYER = {
  play: (title = '') => `Play ${title}`.trim(),
  pause: (title = '') => `Pause ${title}`.trim(),
  position: (now, all) => `${spokenClock(now)} of ${spokenClock(all)}`,
};

export const COMPARE = {
  full: 'Four clips are compared already; take one out first.',
  unreadable: 'One of these clips cannot be read: their loudness is as it is.',
  more: 'Choose one more to compare.',
  end: 'Stop comparing',
  lowered: (loudness, gain) => (Number.isFinite(loudness) ? `${decibels(loudness)} LUFS, played at ${decibels(gain)} dB` : 'silent'),
};

// -- the editor -------------------------------------------------------------------------------------------------------

/** @type {Record<string, {label: string, hint: string, button: string}>} */
export const TOOLS = {
  anew: { label: 'Make anew', hint: 'Drag over what shall be made anew, in several places if you like; everything else stays as it is, to the sample.', button: 'Make it anew' },
  extend: { label: 'Extend', hint: 'Drag the ends outwards: something is made before and after, and the clip stays as it is.', button: 'Extend' },
  reshape: { label: 'Reshape', hint: 'All of the clip is changed: a little, or until nothing of it is left. With the settings of the instrument, its mix plays it.', button: 'Reshape' },
  vary: { label: 'Variations', hint: 'Four clips close to this one: the same settings and seed, with a little of other seeds in the noise.', button: 'Make four variations' },
  loop: { label: 'Loop', hint: 'A clip of this seed and length whose end goes on into its beginning.', button: 'Make a loop' },
  mix: { label: 'Mix over time', hint: 'It begins in one mix and ends in another.', button: 'Make the transition' },
};

export const EDITOR = {
  heading: (title) => `Edit: ${title}`,
  close: 'Close the editor',
  tool: 'Tool',
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
  noRoom: 'There is no room for a region here: move the playhead.',
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
  takeMix: 'Take the mix of the instrument',
  settings: 'Settings',
  ofClip: 'of the clip',
  ofInstrument: 'of the instrument',
  asking: 'Waiting for the model \u2026',
  forming: (text) => `Forming: ${text}`,
  none: 'No clip was made.',
  ready: (count) => (count > 1 ? `${count} versions are ready: keys 1 to ${count} go from one to another.` : 'The new version is ready: key 1 plays the one before, key 2 the new one.'),
  unreadable: 'This clip cannot be read; its file may be gone.',
  notLoop: 'This clip was not made as a loop: repeated, it may click where it begins again.',
  seamText: (ratio) => (ratio < 2 ? `The seam is as smooth as the rest: the step across it is ${short(Math.round(ratio * 10) / 10)} times a usual one.` : `The step across the seam is ${short(Math.round(ratio * 10) / 10)} times a usual one.`),
  seamPicture: 'The last and the first 20 milliseconds, side by side',
};

const states = { queued: 'waits', running: 'forms', failed: 'failed', cancelled: 'cancelled', interrupted: 'interrupted' };

/** A version in the tree. @param {string} name @param {import('./api.js').Job} job */
export const versionText = (name, job) => `${name}${states[job.status] ? ` (${states[job.status]})` : ''}${job.binned ? ' (in the bin)' : ''}`;

/** How a version came out of the one before, in a few words. @param {import('./api.js').Job} job */
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

// -- new generators ---------------------------------------------------------------------------------------------------

export const STAGES = {
  prepare: { title: 'Prepare the music', why: 'Every file is decoded whole, checked, and brought to one loudness and sample rate.' },
  check: { title: 'Predict the memory', why: 'Before anything is trained: does it fit?' },
  vae: { title: 'Train the VAE', why: 'It learns to write spectrograms 64 times shorter, and to read them again.' },
  encode: { title: 'Encode the music', why: 'The VAE writes all of the music, for the UNet to learn from.' },
  unet: { title: 'Train the UNet', why: 'It learns to make new music of each game out of noise.' },
};

export const STATUS = {
  new: 'nothing is made yet',
  prepared: 'the music is prepared',
  running: 'at work',
  paused: 'paused',
  stopped: 'stopped',
  failed: 'failed',
  done: 'ready',
  interrupted: 'interrupted: its process is gone',
  damaged: 'damaged',
};

export const STAGE_STATUS = { waiting: 'waiting', running: 'at work', done: 'done', paused: 'paused', failed: 'failed' };

export const MODULES = { vae: 'VAE', unet: 'UNet' };

export const STEPS = {
  scan: 'decode and measure', convert: 'convert', filter: 'leave out duplicates', split: 'hold some out', describe: 'find the beats', encode: 'encode',
};

export const TURNS = {
  wait: { label: 'Wait', text: 'Clips wait in the queue until the training has ended or is paused.' },
  cpu: { label: 'Play on the CPU', text: 'Clips are made on the processor: slowly, and without taking anything from the training.' },
  share: { label: 'Play at the same time', text: 'Both share the processor: clips and training take longer.' },
  pause: { label: 'Pause the training and play', text: 'The training saves its state, and goes on where it was when you resume it.' },
};

/** Who has the device, in a sentence. @param {any} turn see /api/learn */
export function turnSentence(turn) {
  if (!turn.training) return '';
  if (turn.training === 'cpu') {
    return turn.seat === 'resting' ? 'A training is using the processor; clips wait.' : 'A training shares the processor: clips take longer.';
  }
  return turn.seat === 'cpu' ? 'A training is using the GPU; clips are made on the CPU.' : 'A training is using the GPU; clips wait.';
}

export const LEARN = {
  noRoots: 'The server was started without a folder of music. Start it with one, and come back:',
  noRootsCommand: 'python -m webui --model chiptune --music FOLDER',
  chooseTitle: '1. Where is your music?',
  chooseText: 'Open the folder that holds one folder for each game. The games are what you will ask for later.',
  noFolders: 'No folders here.',
  filesHere: (count) => `${counted(count, 'file')} directly in this folder ${count === 1 ? 'belongs' : 'belong'} to no game: each folder becomes one.`,
  look: 'Scan this folder',
  looking: 'Reading the files …',
  nothing: 'Nothing here can be used.',
  found: (s) => `${counted(s.kept, 'track')} of ${counted(s.games.filter((game) => game.tracks).length, 'game')}, ${s.estimated ? 'about ' : ''}${hoursText(s.hours)}`,
  others: (s) => `Left out: ${counted(s.not_audio, 'file')} without music.`,
  refused: (count) => `${counted(count, 'file')} would be refused`,
  refusedDone: (count) => `${counted(count, 'file')} refused`,
  kindTitle: '2. What kind of generator?',
  kindText: (p) => `This machine has ${p.device === 'cpu' ? 'no GPU that can be used' : p.name}, and ${sizeText(p.room)} of memory free.`,
  predicting: 'Predicting what fits into the memory of this machine …',
  suggested: 'suggested',
  needs: (need) => `needs ${sizeText(need)}`,
  cannot: (problem) => `cannot be trained here: ${problem}`,
  nameTitle: '3. What is it called?',
  prepare: 'Prepare the music',
  prepareAgain: 'The music has changed: prepare again',
  train: 'Train',
  resume: 'Resume',
  pause: 'Pause',
  stop: 'Stop here',
  starting: 'Begins when the device is free: what is playing or forming there ends first …',
  stopping: 'Saving and stopping …',
  play: 'Play it',
  opened: 'The page plays the new model now.',
  start: 'Start a server that plays it:',
  report: 'The prepared dataset',
  wholeReport: 'The whole report, with what was refused to hear',
  curves: 'Loss',
  demos: 'Demos',
  noDemos: 'The first demos appear after some training.',
  atSamples: (count) => `after ${counted(count, 'sample')}`,
  log: 'Log',
  killed: (count) => `restarted ${count === 1 ? 'once' : `${count} times`} after the system ended it`,
  nextTrain: 'The music is ready. Train when you like it; it may be paused at any time, and the page may be closed.',
  interruptedHelp: 'The machine was switched off, or the process was ended. Nothing is lost: it goes on where its last state was saved.',
  took: (time) => `took ${lasting(time)}`,
  newGenerator: 'New generator',
  generators: 'Generators',
  newTab: '+ New',
  rename: 'Rename',
  label: 'Name of the generator',
  folderName: (name) => `in the folder ${name}`,
  bin: 'Delete (to the bin)',
  binned: (label) => `${label} is in the bin, with its dataset; its model stays.`,
  restored: (label) => `${label} is back.`,
  removed: 'In the bin',
  removedText: 'Generators that were deleted, with their datasets. Their models are not here: these stay among the models.',
  bringBack: 'Bring back',
  bringBackOf: (label) => `Bring back ${label}`,
  emptyBin: 'Empty the bin',
  emptyBinQuestion: 'Empty the bin?',
  emptyBinText: 'The deleted generators and their datasets are gone for good then. Your folder of music and the models stay.',
  emptied: 'The bin is empty.',
  folder: 'Folder',
  again: 'Try again',
  whatNow: 'What now?',
  banner: 'Training and playing',
  step: (step) => `${STEPS[step.name] ?? step.name} ${step.done} of ${step.total}`,
  demo: (module, name) => `${MODULES[module]} · ${name.replaceAll('/', ' · ')}`,
  summary: { label: 'Games', heads: ['Game', 'Tracks', 'Length', 'Refused'] },
};
