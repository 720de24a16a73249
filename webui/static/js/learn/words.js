/** What the view "New generator" says: all of its English is here. */

import { roughly } from '../format.js';

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
    return turn.seat === 'resting' ? 'A training has the processor; clips wait.' : 'A training shares the processor: clips take longer.';
  }
  return turn.seat === 'cpu' ? 'A training has the GPU; clips are made on the CPU.' : 'A training has the GPU; clips wait.';
}

/** @param {number} hours */
export function hoursText(hours) {
  if (hours >= 10) return `${Math.round(hours)} h`;
  if (hours >= 1) return `${hours.toFixed(1)} h`;
  const minutes = hours * 60;
  return minutes >= 1 ? `${Math.round(minutes)} min` : `${Math.round(minutes * 60)} s`;
}

export const counted = (count, noun) => `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;

/** @param {number} bytes */
export const gib = (bytes) => (bytes < 2 ** 29 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`);

/** @param {?number} left seconds */
export const leftText = (left) => (left === null || left === undefined ? '' : `${roughly(left)} left`);

/** When it will be over, as a clock. @param {number} left seconds @param {number} [now] ms since 1970 */
export function endText(left, now = Date.now()) {
  const end = new Date(now + left * 1000);
  const time = end.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return end.toDateString() === new Date(now).toDateString() ? `until ${time}` : `until ${end.toLocaleDateString()} ${time}`;
}

/** A folder's name as the name of a generator. @param {string} name */
export const nameFrom = (name) => name.normalize('NFKD').replace(/[^A-Za-z0-9_-]+/g, '-').replace(/^[-_]+|[-_]+$/g, '').slice(0, 40).replace(/[-_]+$/, '') || 'mine';

export const W = {
  none: 'No generator has been made here yet.',
  noRoots: 'The server was started without a folder of music. Start it with one, and come back:',
  noRootsCommand: 'python -m webui --model chiptune --music FOLDER',
  chooseTitle: '1. Where is your music?',
  chooseText: 'Open the folder that holds one folder for each game. The games are what you will ask for later.',
  noFolders: 'No folders here.',
  filesHere: (count) => `${counted(count, 'file')} directly in this folder: only folders become games.`,
  look: 'What is in here?',
  looking: 'Looking into the files …',
  use: 'Use this folder',
  nothing: 'Nothing here can be used.',
  found: (s) => `${counted(s.kept, 'track')} of ${counted(s.games.filter((game) => game.tracks).length, 'game')}, ${s.estimated ? 'about ' : ''}${hoursText(s.hours)}`,
  others: (s) => `Left out: ${counted(s.not_audio, 'file')} without music.`,
  refused: (count) => `${counted(count, 'file')} would be refused`,
  refusedDone: (count) => `${counted(count, 'file')} refused`,
  kindTitle: '2. What kind of generator?',
  kindText: (p) => `This machine has ${p.device === 'cpu' ? 'no GPU that can be used' : p.name}, and ${gib(p.room)} of memory free.`,
  predicting: 'Predicting what fits into the memory of this machine …',
  suggested: 'suggested',
  needs: (need) => `needs ${gib(need)}`,
  cannot: (problem) => `not here: ${problem}`,
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
  report: 'What became of the music',
  wholeReport: 'The whole report, with what was refused to hear',
  curves: 'Loss',
  training: 'training',
  validation: 'validation',
  samples: (seen, total) => (total ? `${seen.toLocaleString('en')} of ${total.toLocaleString('en')} samples` : `${seen.toLocaleString('en')} samples`),
  demos: 'To hear on the way',
  noDemos: 'The first ones appear when the training has come some way.',
  atSamples: (count) => `after ${counted(count, 'sample')}`,
  log: 'What the commands say',
  killed: (count) => `was ended by the system and begun again ${count === 1 ? 'once' : `${count} times`}`,
  memory: (runs) => runs.map((run) => `${run.module.toUpperCase()} ${gib(run.need)}`).join(', '),
  nextTrain: 'The music is ready. Train when you like it; it may be paused at any time, and the page may be closed.',
  interruptedHelp: 'The machine was switched off, or the process was ended. Nothing is lost: it goes on where its last state was saved.',
  took: (seconds) => `took ${roughly(seconds).replace('about ', '')}`,
  away: 'The server does not answer; trying again …',
};
