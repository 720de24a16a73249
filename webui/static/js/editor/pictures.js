/** Pictures of decoded samples at any zoom: waveform and spectrogram of a stretch of time. */

import { prepared } from '../waveform.js';

const BLOCK = 256; // samples of one entry of an overview
const FLOOR = -90; // dB below the loudest, which is black
const LOWEST = 40; // Hz, at the bottom of the spectrogram
const COLUMN = 2; // CSS pixels
const ROWS = 128;
/** From silence to the loudest: the page's own dusk. */
const STOPS = [[8, 6, 13], [58, 28, 96], [160, 45, 120], [246, 110, 92], [255, 226, 170]];

/** Smallest and largest sample of each BLOCK, over all channels. */
export class Overview {
  /** @param {AudioBuffer} sound */
  constructor(sound) {
    const blocks = Math.ceil(sound.length / BLOCK);
    this.low = new Float32Array(blocks);
    this.high = new Float32Array(blocks);
    for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
      const samples = sound.getChannelData(channel);
      for (let i = 0; i < samples.length; i += 1) {
        const block = Math.floor(i / BLOCK);
        if (samples[i] < this.low[block]) this.low[block] = samples[i];
        if (samples[i] > this.high[block]) this.high[block] = samples[i];
      }
    }
    this.sound = sound;
    this.loudest = Math.max(1e-3, this.high.reduce((a, b) => Math.max(a, b), 0), -this.low.reduce((a, b) => Math.min(a, b), 0));
  }

  /** [lowest, highest] of the samples from `first` up to `last`. */
  between(first, last) {
    let [low, high] = [0, 0];
    if (last - first > 2 * BLOCK) {
      for (let block = Math.max(0, Math.floor(first / BLOCK)); block < Math.min(last / BLOCK, this.low.length); block += 1) {
        low = Math.min(low, this.low[block]);
        high = Math.max(high, this.high[block]);
      }
      return [low, high];
    }
    for (let channel = 0; channel < this.sound.numberOfChannels; channel += 1) {
      const samples = this.sound.getChannelData(channel);
      for (let i = Math.max(0, Math.floor(first)); i < Math.min(Math.max(last, first + 1), samples.length); i += 1) {
        low = Math.min(low, samples[i]);
        high = Math.max(high, samples[i]);
      }
    }
    return [low, high];
  }
}

/** The loudest sample of the clip fills the picture. @param {HTMLCanvasElement} canvas @param {Overview} overview */
export function drawEnvelope(canvas, overview, from, to, colour) {
  const place = prepared(canvas);
  if (!place) return;
  const { context, width, height } = place;
  const rate = overview.sound.sampleRate;
  const perPixel = ((to - from) * rate) / width;
  context.fillStyle = colour;
  for (let x = 0; x < width; x += 1) {
    const first = from * rate + x * perPixel;
    if (first + perPixel < 0 || first >= overview.sound.length) continue;
    const [low, high] = overview.between(first, first + perPixel).map((sample) => (0.95 * sample) / overview.loudest);
    const top = (height / 2) * (1 - high);
    context.fillRect(x, top, 1, Math.max(1, (height / 2) * (1 - low) - top));
  }
}

/** In-place transform of `real` and `imaginary`, whose length is a power of two; `waves` are its cosines and sines. */
function transform(real, imaginary, { cosines, sines }) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i += 1) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j], imaginary[i], imaginary[j]] = [real[j], real[i], imaginary[j], imaginary[i]];
  }
  for (let length = 2; length <= size; length *= 2) {
    const half = length / 2;
    const stride = size / length;
    for (let start = 0; start < size; start += length) {
      for (let k = 0; k < half; k += 1) {
        const [a, b] = [start + k, start + k + half];
        const [cosine, sine] = [cosines[k * stride], sines[k * stride]];
        const re = real[b] * cosine + imaginary[b] * sine;
        const im = imaginary[b] * cosine - real[b] * sine;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
      }
    }
  }
}

/** Levels in dB of ROWS rows, low frequencies first, at one place. */
class Spectrum {
  constructor(sound) {
    this.sound = sound;
    this.channels = Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel));
    this.size = 2 ** Math.round(Math.log2(sound.sampleRate / 20)); // about 50 ms
    const angles = Array.from({ length: this.size }, (_, i) => (2 * Math.PI * i) / this.size);
    this.window = Float32Array.from(angles, (angle) => (1 - Math.cos(angle)) / 2);
    this.waves = { cosines: Float64Array.from(angles, Math.cos), sines: Float64Array.from(angles, Math.sin) };
    this.real = new Float64Array(this.size);
    this.imaginary = new Float64Array(this.size);
    const [low, high] = [LOWEST, sound.sampleRate / 2];
    this.bins = Array.from({ length: ROWS + 1 }, (_, row) => (low * (high / low) ** (row / ROWS) * this.size) / sound.sampleRate);
  }

  at(centre) {
    const first = Math.round(centre) - this.size / 2;
    for (let i = 0; i < this.size; i += 1) {
      let sum = 0;
      for (const samples of this.channels) sum += samples[first + i] ?? 0;
      this.real[i] = sum * this.window[i];
    }
    this.imaginary.fill(0);
    transform(this.real, this.imaginary, this.waves);
    return this.bins.slice(0, ROWS).map((bin, row) => this.#loudest(Math.floor(bin), Math.max(Math.floor(bin) + 1, this.bins[row + 1])));
  }

  #loudest(first, last) {
    let power = 0;
    for (let bin = first; bin < Math.min(last, this.size / 2); bin += 1) {
      power = Math.max(power, this.real[bin] ** 2 + this.imaginary[bin] ** 2);
    }
    return 10 * Math.log10(power / (this.size / 4) ** 2 + 1e-12);
  }
}

/** @param {number} share from 0 to 1 */
function shade(share) {
  const at = Math.min(Math.max(share, 0), 0.9999) * (STOPS.length - 1);
  const [below, above] = [STOPS[Math.floor(at)], STOPS[Math.floor(at) + 1]];
  return below.map((value, i) => value + (above[i] - value) * (at % 1));
}

/** Low frequencies below, on a logarithmic scale. @param {HTMLCanvasElement} canvas @param {AudioBuffer} sound */
export function drawSpectrogram(canvas, sound, from, to) {
  const place = prepared(canvas);
  if (!place) return;
  const { context, width, height } = place;
  const columns = Math.max(1, Math.ceil(width / COLUMN));
  const image = new ImageData(columns, ROWS);
  const spectrum = new Spectrum(sound);
  for (let column = 0; column < columns; column += 1) {
    const time = from + ((column + 0.5) / columns) * (to - from);
    if (time < 0 || time > sound.duration) continue;
    spectrum.at(time * sound.sampleRate).forEach((level, row) => {
      image.data.set([...shade((level - FLOOR) / -FLOOR), 255], ((ROWS - 1 - row) * columns + column) * 4);
    });
  }
  const small = new OffscreenCanvas(columns, ROWS);
  small.getContext('2d').putImageData(image, 0, 0);
  context.drawImage(small, 0, 0, width, height);
}
