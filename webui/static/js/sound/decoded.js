/**
 * Clips as decoded samples. Playing these, and not the file, makes seeking exact in clips of any length and kind: our
 * FLACs have no seek table, and browsers guess places in such files from their bytes.
 */

import { address } from '../address.js';

const BUDGET = 256 * 2 ** 20; // bytes of samples; ten minutes of 32 kHz stereo have 154 MB
const USUAL_RATE = 48_000; // Hz, where a file's head does not tell

/** @typedef {{audio: ?string, id: string}} Clip a job of the history */

/**
 * The sampling rate that a file says it has, in Hz. Decoded at any other, a loop would lose its exact ends.
 * @param {ArrayBuffer} bytes
 */
export function rateOf(bytes) {
  const view = new DataView(bytes);
  const has = (text, at) => view.byteLength > at + text.length && [...text].every((letter, i) => view.getUint8(at + i) === letter.charCodeAt(0));
  let rate = USUAL_RATE;
  // STREAMINFO comes first in FLAC: 20 bits after block and frame sizes.
  if (has('fLaC', 0) && view.byteLength > 24) rate = view.getUint32(18) >>> 12;
  if (has('RIFF', 0) && has('fmt ', 12) && view.byteLength > 28) rate = view.getUint32(24, true);
  if (has('OggS', 0) && has('vorbis', 29) && view.byteLength > 44) rate = view.getUint32(40, true);
  return rate >= 3000 && rate <= 384_000 ? rate : USUAL_RATE;
}

/** Bytes that the samples of a sound take. @param {AudioBuffer} sound */
const sizeOf = (sound) => sound.length * sound.numberOfChannels * 4;

/** Decodes what it is asked for and keeps what was asked for last, up to a number of bytes. */
export class DecodedSounds {
  /** In the order of use. @type {Map<string, Promise<AudioBuffer>>} */
  #sounds = new Map();
  /** @type {Map<string, number>} */
  #sizes = new Map();
  /** Ids of clips that stay whatever room they take: those that are compared. @type {Set<string>} */
  pinned = new Set();

  constructor(budget = BUDGET) {
    this.budget = budget;
  }

  /** Bytes of all samples that are kept. */
  get size() {
    return [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  /**
   * The samples of a clip, at its own rate. Rejects where the file cannot be read or decoded.
   * @param {Clip} clip @returns {Promise<AudioBuffer>}
   */
  get(clip) {
    const known = this.#sounds.get(clip.id);
    if (known) {
      this.#sounds.delete(clip.id);
      this.#sounds.set(clip.id, known);
      return known;
    }
    const decoding = this.#decode(clip);
    this.#sounds.set(clip.id, decoding);
    decoding.then((sound) => this.#keep(clip.id, decoding, sizeOf(sound)), () => this.drop(clip.id));
    return decoding;
  }

  drop(id) {
    this.#sounds.delete(id);
    this.#sizes.delete(id);
  }

  async #decode(clip) {
    const response = await fetch(address(clip.audio));
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const bytes = await response.arrayBuffer();
    const rate = rateOf(bytes);
    return new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  }

  #keep(id, decoding, size) {
    if (this.#sounds.get(id) !== decoding) return;
    this.#sizes.set(id, size);
    const last = [...this.#sounds.keys()].at(-1);
    for (const other of [...this.#sizes.keys()]) {
      if (this.size <= this.budget) break;
      if (other !== id && other !== last && !this.pinned.has(other)) this.drop(other);
    }
  }
}
