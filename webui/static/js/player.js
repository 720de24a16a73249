/** The player at the bottom: one sound at a time, played through Web Audio from decoded samples. */

import { call } from './api.js';
import { byId, fillSlider, setText } from './dom.js';
import { clock, titleOf } from './format.js';
import { icon, showPlay } from './icons.js';
import { DecodedSounds } from './sound/decoded.js';
import { Transport } from './sound/transport.js';
import { isShare, remember, remembered } from './storage.js';
import { PLAYER as TEXT } from './texts.js';
import { drawBars, peaksOf } from './waveform.js';

const SKIPS = { ArrowLeft: -5, ArrowRight: 5, PageDown: -10, PageUp: 10 }; // seconds
const TELLING = 60; // ms between `time` events while it plays; the cursor itself moves with each picture

/** Events: `state` when what plays or whether it plays changes, `time` while it plays, `broken` with the job. */
export class Player extends EventTarget {
  /** @type {?import('./api.js').Job} */
  job = null;
  /** Whether the server went away while the clip was read from it. */
  isCut = false;
  sounds = new DecodedSounds();
  /** Factors for clips that are compared at equal loudness, by id. @type {Map<string, number>} */
  gains = new Map();
  #transport = new Transport();
  #seconds = 0;
  /** What is to happen once the clip is decoded; null when it is. @type {?{play: boolean, seconds: number, loop: any}} */
  #waiting = null;
  #isBroken = false; // it could not be read
  #told = 0;
  #frame = 0;

  constructor() {
    super();
    this.#transport.volume = remembered('volume', 0.9, isShare);
    this.#transport.addEventListener('state', () => this.#showState());
    const repaint = () => this.#draw();
    matchMedia('(prefers-color-scheme: light)').addEventListener('change', repaint);
    new ResizeObserver(repaint).observe(byId('dock-wave'));
    this.#initControls();
  }

  get isPlaying() {
    return this.#waiting ? this.#waiting.play : this.#transport.isPlaying;
  }

  /** Where it is, in seconds. */
  get seconds() {
    return this.#waiting ? this.#waiting.seconds : this.#transport.position;
  }

  /** Length of the clip in seconds; 0 where it is not known yet. */
  get duration() {
    return this.#seconds;
  }

  /** From 0 to 1. */
  get progress() {
    return this.#seconds ? Math.min(this.seconds / this.#seconds, 1) : 0;
  }

  /** A stretch in seconds that is repeated to the sample; null for none. Another clip begins without one. */
  get loop() {
    return this.#waiting ? this.#waiting.loop : this.#transport.loop;
  }

  set loop(loop) {
    if (this.#waiting) this.#waiting.loop = loop;
    else this.#transport.loop = loop;
    this.#tick();
  }

  /**
   * Puts a clip into the player.
   * @param {import('./api.js').Job} job
   * @param {{play?: boolean, at?: number, seconds?: number}} [how] `at` from 0 to 1, or `seconds`
   */
  async load(job, { play = false, at, seconds } = {}) {
    if (this.job?.id !== job.id || this.#isBroken) {
      this.job = job;
      this.#seconds = 0;
      this.#isBroken = false;
      this.#waiting = { play, seconds: seconds ?? 0, loop: null };
      this.#transport.load(null); // whose listeners find the new clip already
      this.#describe();
      await this.#decode(job, at);
      return;
    }
    if (at !== undefined || seconds !== undefined) this.seek(seconds ?? at * this.#seconds);
    if (play) await this.#play();
  }

  /** Reads the clip; meanwhile its waveform is shown, and one may seek, play and pause. */
  async #decode(job, at) {
    const { peaks, seconds } = await peaksOf(job);
    if (this.job?.id !== job.id) return; // another one was chosen meanwhile
    this.#seconds = seconds ?? 0;
    this.#draw(peaks);
    if (at !== undefined) this.#waiting.seconds = at * this.#seconds;
    let sound;
    try {
      sound = await this.sounds.get(job);
    } catch {
      if (this.job?.id !== job.id) return;
      this.#waiting = { play: false, seconds: this.seconds, loop: null };
      this.#isBroken = true;
      this.#showState();
      this.dispatchEvent(new CustomEvent('broken', { detail: this.job }));
      return;
    }
    if (this.job?.id !== job.id) return;
    const wanted = this.#waiting;
    this.#waiting = null;
    this.#seconds = sound.duration;
    this.#transport.load(sound, { position: wanted.seconds, gain: this.gains.get(job.id) });
    this.#transport.loop = wanted.loop;
    if (wanted.play) await this.#play();
    this.#showState();
  }

  /** Goes over to another clip at the same place, without a gap if it is decoded already. @param {import('./api.js').Job} job */
  async change(job) {
    if (this.job?.id === job.id) return;
    const sound = this.#waiting || !this.job ? null : await this.sounds.get(job).catch(() => null);
    if (!sound) {
      await this.load(job, { play: this.isPlaying, seconds: this.seconds });
      return;
    }
    this.job = job;
    this.#seconds = sound.duration;
    this.#transport.swap(sound, this.gains.get(job.id));
    this.#describe();
    const { peaks } = await peaksOf(job);
    if (this.job?.id === job.id) this.#draw(peaks);
  }

  /** The level of each clip from now on, as a factor; 1 where nothing is said. @param {Map<string, number>} gains */
  setGains(gains) {
    this.gains = gains;
    if (this.job) this.#transport.gain = gains.get(this.job.id) ?? 1;
  }

  toggle() {
    if (!this.job) return;
    if (this.#isBroken) this.#retry({ play: true, seconds: this.seconds });
    else if (this.#waiting) {
      this.#waiting.play = !this.#waiting.play;
      this.#showState();
    } else if (this.isPlaying) this.#transport.pause();
    else this.#play();
  }

  async #play() {
    if (this.#waiting) this.#waiting.play = true;
    else await this.#transport.play();
    this.#showState();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const place = Math.min(Math.max(seconds, 0), this.#seconds);
    if (this.#waiting) this.#waiting.seconds = place;
    else this.#transport.seek(place);
    this.#tick();
  }

  /** Empties the player if it holds this job. */
  drop(id) {
    this.sounds.drop(id);
    if (this.job?.id !== id) return;
    this.job = null;
    this.#waiting = null;
    this.#transport.load(null);
    byId('dock').hidden = true;
    this.dispatchEvent(new Event('state'));
  }

  /** The server may have become another one: empties the player if its clip is not there, and reads on what was cut off. */
  async check() {
    const { job, seconds } = this;
    if (!job) return;
    await call('GET', `/api/jobs/${job.id}`).catch((error) => error.status === 404 && this.drop(job.id));
    if (!this.isCut || this.job !== job) return;
    await this.#retry({ seconds });
  }

  /** Reads anew what could not be read. */
  async #retry(how) {
    const { job } = this;
    this.isCut = false;
    this.job = null;
    await this.load(job, how);
  }

  /** Takes over a new title. */
  refresh(job) {
    if (this.job?.id !== job.id) return;
    this.job = job;
    this.#describe();
  }

  #describe() {
    byId('dock').hidden = false;
    setText(byId('dock-title'), titleOf(this.job));
    this.#showState();
  }

  #initControls() {
    byId('dock-play').onclick = () => this.toggle();
    byId('volume-icon').append(icon('volume'));
    const volume = byId('volume');
    volume.value = String(this.#transport.volume);
    fillSlider(volume);
    volume.oninput = () => {
      this.#transport.volume = volume.valueAsNumber;
      remember('volume', volume.valueAsNumber);
      fillSlider(volume);
    };
    const wave = byId('dock-wave');
    wave.addEventListener('keydown', (event) => this.#onKey(event));
    const follow = (event) => {
      const { left, width } = wave.getBoundingClientRect();
      this.seek(((event.clientX - left) / width) * this.#seconds);
    };
    wave.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      wave.setPointerCapture(event.pointerId);
      follow(event);
    });
    wave.addEventListener('pointermove', (event) => wave.hasPointerCapture(event.pointerId) && follow(event));
  }

  #onKey(event) {
    const target = { Home: 0, End: this.#seconds }[event.key] ?? (event.key in SKIPS ? this.seconds + SKIPS[event.key] : undefined);
    if (target === undefined) return;
    event.preventDefault();
    this.seek(target);
  }

  #draw(peaks = this.peaks) {
    this.peaks = peaks;
    if (!peaks) return;
    const style = getComputedStyle(document.documentElement);
    const [behind, before] = byId('dock-wave').querySelectorAll('canvas');
    drawBars(behind, peaks, style.getPropertyValue('--wave').trim());
    drawBars(before, peaks, style.getPropertyValue('--accent').trim());
  }

  #showState() {
    showPlay(byId('dock-play'), this.isPlaying, this.isPlaying ? TEXT.pause() : TEXT.play());
    byId('dock').setAttribute('aria-busy', String(this.#waiting !== null && !this.#isBroken));
    this.#tick();
    this.dispatchEvent(new Event('state'));
    cancelAnimationFrame(this.#frame);
    if (this.#transport.isPlaying) this.#follow();
  }

  /** Moves the cursor with each picture for as long as it plays. */
  #follow() {
    this.#frame = requestAnimationFrame((now) => {
      byId('dock-wave').style.setProperty('--progress', String(this.progress));
      if (now - this.#told > TELLING) {
        this.#told = now;
        this.#tick();
      }
      if (this.#transport.isPlaying) this.#follow();
    });
  }

  #tick() {
    const now = this.seconds;
    setText(byId('dock-time'), `${clock(now)} / ${clock(this.#seconds)}`);
    const slider = byId('dock-wave');
    slider.style.setProperty('--progress', String(this.progress));
    slider.setAttribute('aria-valuemax', this.#seconds.toFixed(1));
    slider.setAttribute('aria-valuenow', now.toFixed(1));
    slider.setAttribute('aria-valuetext', TEXT.position(now, this.#seconds));
    this.dispatchEvent(new Event('time'));
  }
}
