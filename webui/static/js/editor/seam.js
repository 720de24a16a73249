/** The place where a loop goes from its end to its beginning: seen, measured, and heard. */

import { el, setText } from '../dom.js';
import { prepared } from '../waveform.js';
import { EDITOR as TEXT } from '../texts.js';

const SHOWN = 0.02; // seconds on either side
const NEAR = 0.25; // seconds on either side whose steps are the usual ones

/** Root mean square. */
const size = (steps) => Math.sqrt(steps.reduce((sum, step) => sum + step * step, 0) / Math.max(steps.length, 1));

/**
 * How far the samples jump from the last to the first, as a multiple of the usual step beside the seam.
 * @param {AudioBuffer} sound
 */
function seamStep(sound) {
  const near = Math.min(Math.round(NEAR * sound.sampleRate), sound.length - 1);
  let [jump, usual] = [0, 0];
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    const samples = sound.getChannelData(channel);
    const steps = (part) => Array.from(part.subarray(1), (sample, i) => sample - part[i]);
    jump += Math.abs(samples[0] - samples[samples.length - 1]);
    usual += size([...steps(samples.subarray(0, near)), ...steps(samples.subarray(samples.length - near))]);
  }
  return usual > 0 ? jump / usual : jump > 0 ? Infinity : 0;
}

/** The samples across the seam, which is the line in the middle. @param {HTMLCanvasElement} canvas @param {AudioBuffer} sound */
function drawSeam(canvas, sound, { wave, line }) {
  const place = prepared(canvas);
  if (!place) return;
  const { context, width, height } = place;
  const count = Math.min(Math.round(SHOWN * sound.sampleRate), Math.floor(sound.length / 2));
  const samples = sound.getChannelData(0);
  const across = Float32Array.of(...samples.subarray(samples.length - count), ...samples.subarray(0, count));
  const loudest = across.reduce((most, sample) => Math.max(most, Math.abs(sample)), 1e-4);
  context.fillStyle = line;
  context.fillRect(width / 2 - 0.5, 0, 1, height);
  context.strokeStyle = wave;
  context.lineWidth = 1.5;
  context.beginPath();
  across.forEach((sample, i) => context.lineTo((i / (across.length - 1)) * width, (height / 2) * (1 - (0.9 * sample) / loudest)));
  context.stroke();
}

/** The seam in the editor. */
export class SeamPanel {
  /** @param {() => void} hear */
  constructor(hear) {
    this.canvas = /** @type {HTMLCanvasElement} */ (el('canvas', { class: 'seam', role: 'img', 'aria-label': TEXT.seamPicture, title: TEXT.seamPicture }));
    this.text = el('p', { class: 'tool-hint' });
    const button = el('button', { type: 'button', class: 'chip', onclick: hear }, TEXT.seam);
    this.element = el('div', { class: 'seam-row', hidden: true }, this.canvas, el('div', {}, this.text, button));
  }

  /** @param {?AudioBuffer} sound null to show nothing @param {boolean} isLoop whether it was made as a loop */
  show(sound, isLoop) {
    this.element.hidden = sound === null;
    if (sound === null) return;
    const style = getComputedStyle(this.element);
    drawSeam(this.canvas, sound, { wave: style.getPropertyValue('--accent').trim(), line: style.getPropertyValue('--soft').trim() });
    setText(this.text, `${isLoop ? '' : `${TEXT.notLoop} `}${TEXT.seamText(seamStep(sound))}`);
  }
}
