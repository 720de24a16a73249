/** The player at the bottom: one sound at a time, played by wavesurfer.js over a plain audio element. */

import WaveSurfer from '../vendor/wavesurfer/wavesurfer.esm.js';
import { address } from './address.js';
import { call } from './api.js';
import { byId, setText } from './dom.js';
import { clock, spokenClock, titleOf } from './format.js';
import { icon } from './icons.js';
import { isShare, remember, remembered } from './storage.js';
import { peaksOf } from './waveform.js';

const SKIPS = { ArrowLeft: -5, ArrowRight: 5, PageDown: -10, PageUp: 10 }; // seconds

/** Events: `state` when what plays or whether it plays changes, `time` while it plays, `broken` with the job. */
export class Player extends EventTarget {
  /** @type {?import('./api.js').Job} */
  job = null;
  /** Whether the server went away while the clip was read from it. */
  isCut = false;
  #seconds = 0;

  constructor() {
    super();
    this.media = new Audio();
    this.media.preload = 'auto';
    this.media.volume = remembered('volume', 0.9, isShare);
    this.wave = WaveSurfer.create({
      container: byId('dock-wave'), media: this.media, height: 48, barWidth: 2, barGap: 1, barRadius: 2, normalize: true,
      dragToSeek: true, hideScrollbar: true, cspNonce: document.querySelector('meta[name=csp-nonce]').getAttribute('content'),
      ...themeColours(),
    });
    matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => this.wave.setOptions(themeColours()));
    this.#initMedia();
    this.#initControls();
  }

  get isPlaying() {
    return !this.media.paused && !this.media.ended;
  }

  /** From 0 to 1. */
  get progress() {
    return this.#seconds ? Math.min(this.media.currentTime / this.#seconds, 1) : 0;
  }

  /** Puts a clip into the player. @param {import('./api.js').Job} job @param {{play?: boolean, at?: number}} [how] `at` from 0 to 1 */
  async load(job, { play = false, at } = {}) {
    if (this.job?.id !== job.id) {
      this.media.pause();
      this.job = job;
      this.#describe();
      const { peaks, seconds } = await peaksOf(job);
      if (this.job?.id !== job.id) return; // another one was chosen meanwhile
      this.#seconds = seconds ?? 0;
      await this.wave.load(address(job.audio), [peaks], seconds).catch(() => this.#broken());
      if (this.job?.id !== job.id) return;
      this.#seconds ||= this.wave.getDuration(); // where nothing stored says it
    }
    if (at !== undefined) this.seek(at * this.#seconds);
    if (play) await this.media.play().catch(() => {});
    this.#tick();
  }

  toggle() {
    if (!this.job) return;
    if (this.isPlaying) this.media.pause();
    else this.media.play().catch(() => {});
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.wave.setTime(Math.min(Math.max(seconds, 0), this.#seconds));
    this.#tick();
  }

  /** Empties the player if it holds this job. */
  drop(id) {
    if (this.job?.id !== id) return;
    this.media.pause();
    this.job = null;
    byId('dock').hidden = true;
    this.dispatchEvent(new Event('state'));
  }

  /** The server may have become another one: empties the player if its clip is not there, and reads on what was cut off. */
  async check() {
    const { job, progress } = this;
    if (!job) return;
    await call('GET', `/api/jobs/${job.id}`).catch((error) => error.status === 404 && this.drop(job.id));
    if (!this.isCut || this.job !== job) return;
    this.isCut = false;
    this.job = null;
    await this.load(job, { at: progress });
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

  #broken() {
    if (this.job) this.dispatchEvent(new CustomEvent('broken', { detail: this.job }));
  }

  #initMedia() {
    for (const event of ['play', 'pause', 'ended']) this.media.addEventListener(event, () => this.#showState());
    this.media.addEventListener('error', () => this.media.src && this.#broken());
    this.media.addEventListener('timeupdate', () => this.#tick());
    this.wave.on('timeupdate', () => this.#tick());
  }

  #initControls() {
    byId('dock-play').onclick = () => this.toggle();
    byId('volume-icon').append(icon('volume'));
    const volume = byId('volume');
    const show = () => volume.style.setProperty('--fill', volume.value);
    volume.value = String(this.media.volume);
    show();
    volume.oninput = () => {
      this.media.volume = volume.valueAsNumber;
      remember('volume', this.media.volume);
      show();
    };
    byId('dock-wave').addEventListener('keydown', (event) => this.#onKey(event));
  }

  #onKey(event) {
    const target = { Home: 0, End: this.#seconds }[event.key] ?? (event.key in SKIPS ? this.media.currentTime + SKIPS[event.key] : undefined);
    if (target === undefined) return;
    event.preventDefault();
    this.seek(target);
  }

  #showState() {
    const button = byId('dock-play');
    button.replaceChildren(icon(this.isPlaying ? 'pause' : 'play'));
    button.setAttribute('aria-label', this.isPlaying ? 'Pause' : 'Play');
    this.#tick();
    this.dispatchEvent(new Event('state'));
  }

  #tick() {
    const now = this.media.currentTime;
    setText(byId('dock-time'), `${clock(now)} / ${clock(this.#seconds)}`);
    const slider = byId('dock-wave');
    slider.setAttribute('aria-valuemax', this.#seconds.toFixed(1));
    slider.setAttribute('aria-valuenow', now.toFixed(1));
    slider.setAttribute('aria-valuetext', `${spokenClock(now)} of ${spokenClock(this.#seconds)}`);
    this.dispatchEvent(new Event('time'));
  }
}

function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return { waveColor: value('--wave'), progressColor: value('--accent'), cursorColor: value('--text') };
}
