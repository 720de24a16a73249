/**
 * Plays decoded samples: one sound at a time, from any sample on, in exact loops, and from one sound to another at the
 * same place without a gap.
 */

const FADE = 0.006; // seconds; no click where a sound begins or ends in the middle of a wave
const REST = 500; // ms after which a silent context is put to sleep
const PATIENCE = 1500; // ms for a context to wake; browsers let none sound before the first click

/** @typedef {{start: number, end: number}} Loop in seconds */
/** @typedef {{source: AudioBufferSourceNode, gain: GainNode, when: number, offset: number}} Voice */

/**
 * Where playback stands that began at `offset` and has gone on for `elapsed` seconds.
 * @param {number} offset @param {number} elapsed @param {number} duration @param {?Loop} loop
 */
function positionAfter(offset, elapsed, duration, loop) {
  const position = offset + elapsed;
  if (!loop || position < loop.end) return Math.min(position, duration);
  return loop.start + ((position - loop.start) % (loop.end - loop.start));
}

/** Events: `state` when it begins or stops to play. */
export class Transport extends EventTarget {
  /** @type {?AudioContext} */
  #context = null;
  /** @type {?GainNode} */
  #output = null;
  /** @type {?AudioBuffer} */
  #sound = null;
  /** @type {?Voice} */
  #voice = null;
  #position = 0;
  #gain = 1;
  #volume = 1;
  /** @type {?Loop} */
  #loop = null;
  #resting = 0;

  /** @param {(rate: number) => AudioContext} makeContext for sounds of a sampling rate */
  constructor(makeContext = (rate) => new AudioContext({ sampleRate: rate, latencyHint: 'interactive' })) {
    super();
    this.makeContext = makeContext;
  }

  get isPlaying() {
    return this.#voice !== null;
  }

  get duration() {
    return this.#sound?.duration ?? 0;
  }

  /** In seconds. */
  get position() {
    if (!this.#voice) return this.#position;
    const elapsed = Math.max(0, this.#context.currentTime - this.#voice.when);
    return positionAfter(this.#voice.offset, elapsed, this.duration, this.#loop);
  }

  get volume() {
    return this.#volume;
  }

  set volume(volume) {
    this.#volume = volume;
    if (this.#output) this.#output.gain.setTargetAtTime(volume, this.#context.currentTime, 0.01);
  }

  /** Puts another sound in, silent, at its beginning or another place; null empties it. @param {?AudioBuffer} sound */
  load(sound, { position = 0, gain = 1 } = {}) {
    this.#fall();
    this.#sound = sound;
    this.#gain = gain;
    this.#loop = null;
    this.#position = Math.min(Math.max(position, 0), this.duration);
    this.#tell();
  }

  /** Another sound from the same place on; where one plays, the other takes over within a few milliseconds. */
  swap(sound, gain = 1) {
    const position = Math.min(this.position, sound.duration);
    const plays = this.isPlaying;
    const loop = this.#loop && this.#loop.end <= sound.duration ? this.#loop : null;
    this.#fall();
    this.#sound = sound;
    this.#gain = gain;
    this.#loop = loop;
    this.#position = position;
    if (plays) this.#rise();
    this.#tell();
  }

  /** The level of the present sound, as a factor. */
  set gain(gain) {
    this.#gain = gain;
    this.#voice?.gain.gain.setTargetAtTime(gain, this.#context.currentTime, 0.01);
  }

  /** Begins to play; resolves to whether it does: browsers may not let it before the first click. */
  async play() {
    if (this.isPlaying || !this.#sound) return this.isPlaying;
    clearTimeout(this.#resting);
    const sound = this.#sound;
    const context = this.#contextFor(sound.sampleRate);
    if (context.state !== 'running') {
      await Promise.race([context.resume(), new Promise((resolve) => { setTimeout(resolve, PATIENCE); })]).catch(() => {});
    }
    if (context.state !== 'running' || this.#sound !== sound || this.isPlaying) return this.isPlaying;
    if (this.#position >= this.duration - 1e-4) this.#position = this.#loop?.start ?? 0;
    this.#rise();
    this.#tell();
    return true;
  }

  pause() {
    if (!this.isPlaying) return;
    this.#position = this.position;
    this.#fall();
    this.#tell();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const plays = this.isPlaying;
    this.#fall();
    this.#position = Math.min(Math.max(seconds, 0), this.duration);
    if (plays && this.#position < this.duration) this.#rise();
    if (plays !== this.isPlaying) this.#tell();
  }

  /** @type {?Loop} */
  get loop() {
    return this.#loop;
  }

  /** Repeats a stretch of the sound, to the sample; null plays on to the end. */
  set loop(loop) {
    const position = this.position;
    const end = Math.min(loop?.end ?? 0, this.duration);
    this.#loop = loop && end > loop.start ? { start: Math.max(0, loop.start), end } : null;
    this.seek(position);
  }

  /** A context at the sound's own rate leaves its samples as they are until the very end. */
  #contextFor(rate) {
    if (this.#context?.sampleRate === rate) return this.#context;
    this.#context?.close().catch(() => {});
    this.#context = this.makeContext(rate);
    this.#output = new GainNode(this.#context, { gain: this.#volume });
    this.#output.connect(this.#context.destination);
    return this.#context;
  }

  #rise() {
    const context = this.#context;
    const loop = this.#loop;
    const offset = loop && this.#position >= loop.end ? loop.start : this.#position;
    const source = new AudioBufferSourceNode(context, {
      buffer: this.#sound, loop: loop !== null, loopStart: loop?.start ?? 0, loopEnd: loop?.end ?? 0,
    });
    const gain = new GainNode(context, { gain: 0 });
    const when = context.currentTime;
    gain.gain.setValueAtTime(0, when);
    gain.gain.linearRampToValueAtTime(this.#gain, when + FADE);
    source.connect(gain).connect(this.#output);
    const voice = { source, gain, when, offset };
    source.onended = () => this.#ended(voice);
    source.start(when, offset);
    this.#voice = voice;
  }

  #fall() {
    const voice = this.#voice;
    if (!voice) return;
    this.#voice = null;
    const now = this.#context.currentTime;
    voice.gain.gain.cancelScheduledValues(now);
    voice.gain.gain.setValueAtTime(voice.gain.gain.value, now);
    voice.gain.gain.linearRampToValueAtTime(0, now + FADE);
    voice.source.stop(now + FADE);
    this.#rest();
  }

  #ended(voice) {
    voice.gain.disconnect();
    if (this.#voice !== voice) return;
    this.#voice = null;
    this.#position = this.duration;
    this.#rest();
    this.#tell();
  }

  /** A running context costs a little, all the time. */
  #rest() {
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => !this.isPlaying && this.#context?.suspend().catch(() => {}), REST);
  }

  #tell() {
    this.dispatchEvent(new Event('state'));
  }
}
