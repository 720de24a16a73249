/** The clip along time: waveform and spectrogram at any zoom, playhead, regions, and ends that can be drawn out. */

import { el, fillSlider } from '../dom.js';
import { marksOf, ticks } from './marks.js';
import { Overview, drawEnvelope, drawSpectrogram } from './pictures.js';
import { LONGEST } from './requests.js';
import { EDITOR as TEXT } from '../texts.js';

const ZOOM = 1.6;
const NEAREST = 0.05; // seconds that are shown at least
const LEAST = 0.02; // seconds of a region
const CLICK = 4; // CSS pixels; what moves less was no drag
const FINE = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }; // steps of a key

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Events: `seek` with seconds, `regions` and `ends` when these were changed. */
export class Timeline extends EventTarget {
  /** @type {?AudioBuffer} */
  #sound = null;
  #overview = null;
  #duration = 1;
  #from = 0;
  #to = 1;
  #frame = 0;
  #isDragged = false; // an end: what is shown stays until it is let go
  /** @type {import('./requests.js').Region[]} */
  regions = [];
  /** Seconds that are made before and after. */
  before = 0;
  after = 0;
  /** What a drag does: `anew` marks regions, `extend` draws out the ends; anything else seeks. */
  tool = '';
  /** The region that was changed last. */
  current = -1;

  constructor() {
    super();
    this.spectrum = /** @type {HTMLCanvasElement} */ (el('canvas', { class: 'spectrum' }));
    this.envelope = /** @type {HTMLCanvasElement} */ (el('canvas', { class: 'envelope' }));
    this.marks = el('div', { class: 'marks' });
    this.head = el('div', { class: 'head', role: 'slider', tabindex: '0', 'aria-label': TEXT.playhead, 'aria-valuemin': 0 });
    this.view = el('div', { class: 'timeline-view' }, this.spectrum, this.envelope, this.marks, this.head);
    this.bar = /** @type {HTMLInputElement} */ (el('input', { type: 'range', class: 'plain-range', min: 0, max: 1, step: 'any', 'aria-label': TEXT.shown, hidden: true }));
    this.ruler = el('div', { class: 'ruler', 'aria-hidden': 'true' });
    this.element = el('div', { class: 'timeline' }, this.ruler, this.view, this.bar);
    this.bar.addEventListener('input', () => this.#show(this.#least + this.bar.valueAsNumber * (this.#span - this.#width)));
    this.view.addEventListener('pointerdown', (event) => this.#onPointer(event));
    this.view.addEventListener('wheel', (event) => this.#onWheel(event), { passive: false });
    this.head.addEventListener('keydown', (event) => this.#onHeadKey(event));
    new ResizeObserver(() => this.#draw()).observe(this.view);
  }

  /** Shows another clip; at first without its samples, which take a moment. @param {number} duration seconds */
  open(duration) {
    Object.assign(this, { regions: [], before: 0, after: 0, current: -1 });
    this.#sound = null;
    this.#overview = null;
    this.#duration = duration;
    this.whole();
  }

  /** @param {AudioBuffer} sound */
  setSound(sound) {
    this.#sound = sound;
    this.#overview = new Overview(sound);
    this.#duration = sound.duration;
    this.whole();
  }

  get duration() {
    return this.#duration;
  }

  get #margin() {
    return this.tool === 'extend' ? Math.max(1, this.#duration / 4) : 0;
  }

  get #least() {
    return -this.before - this.#margin;
  }

  get #span() {
    return this.before + this.#duration + this.after + 2 * this.#margin;
  }

  get #width() {
    return this.#to - this.#from;
  }

  whole() {
    this.#from = this.#least;
    this.#to = this.#least + this.#span;
    this.#show(this.#from);
  }

  /** Nearer by a step, or back; what lies at `place` stays there. @param {number} steps */
  zoom(steps, place = this.#centre) {
    const width = clamp(this.#width * ZOOM ** -steps, Math.min(NEAREST, this.#span), this.#span);
    const share = clamp((place - this.#from) / this.#width, 0, 1);
    this.#from = place - share * width;
    this.#to = this.#from + width;
    this.#show(this.#from);
  }

  /** What is worked on: the region that was changed last, or else the playhead. */
  get #centre() {
    const region = this.tool === 'anew' ? this.regions[this.current] : undefined;
    return region ? (region.start + region.end) / 2 : this.position;
  }

  #show(from) {
    const width = Math.min(this.#width, this.#span);
    this.#from = clamp(from, this.#least, this.#least + this.#span - width);
    this.#to = this.#from + width;
    this.bar.hidden = width >= this.#span - 1e-9;
    this.bar.value = String((this.#from - this.#least) / Math.max(this.#span - width, 1e-9));
    fillSlider(this.bar);
    this.refresh();
  }

  position = 0;

  /** Where the playhead stands. @param {number} seconds */
  setPosition(seconds) {
    this.position = seconds;
    this.head.style.setProperty('--at', String((seconds - this.#from) / this.#width));
    this.head.classList.toggle('outside', seconds < this.#from || seconds > this.#to);
    this.head.setAttribute('aria-valuemax', this.#duration.toFixed(2));
    this.head.setAttribute('aria-valuenow', seconds.toFixed(2));
    this.head.setAttribute('aria-valuetext', TEXT.of(seconds, this.#duration));
  }

  /** Draws everything anew, pictures with the next frame. */
  refresh() {
    this.setPosition(this.position);
    this.#mark();
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** Adds a region where there is room; returns whether there was. */
  addRegion(start, end) {
    const [low, high] = this.#room(start);
    const region = { start: clamp(start, low, high), end: clamp(end, low, high) };
    if (region.end - region.start < LEAST) return false;
    this.regions.push(region);
    this.regions.sort((a, b) => a.start - b.start);
    this.#changed('regions', this.regions.indexOf(region));
    return true;
  }

  /** Adds a region at the playhead, or before it where there is nothing behind; returns whether there was room. */
  addRegionHere() {
    const length = Math.min(1, this.#duration / 4);
    const [, high] = this.#room(this.position);
    const start = high - this.position < LEAST ? high - length : this.position;
    return this.addRegion(start, start + length);
  }

  /** @param {number} index @param {Partial<import('./requests.js').Region>} edges */
  moveRegion(index, edges) {
    const region = this.regions[index];
    const low = this.regions[index - 1]?.end ?? 0;
    const high = this.regions[index + 1]?.start ?? this.#duration;
    if (Number.isFinite(edges.start)) region.start = clamp(edges.start, low, region.end - LEAST);
    if (Number.isFinite(edges.end)) region.end = clamp(edges.end, region.start + LEAST, high);
    this.#changed('regions', index);
  }

  removeRegion(index) {
    this.regions.splice(index, 1);
    this.#changed('regions', -1);
  }

  /** @param {'before'|'after'} side @param {number} seconds */
  setEnd(side, seconds) {
    const other = side === 'before' ? this.after : this.before;
    this[side] = clamp(Number.isFinite(seconds) ? seconds : 0, 0, Math.max(0, LONGEST - this.#duration - other));
    if (!this.#isDragged) this.whole();
    this.#changed('ends', this.current);
  }

  /** The free stretch around a place. */
  #room(place) {
    const low = Math.max(0, ...this.regions.filter(({ start }) => start <= place).map(({ end }) => end));
    const high = Math.min(this.#duration, ...this.regions.filter(({ start }) => start > place).map(({ start }) => start));
    return [low, high];
  }

  #changed(event, current) {
    this.current = current;
    this.#mark();
    this.dispatchEvent(new Event(event));
  }

  #secondsAt(clientX) {
    const { left, width } = this.view.getBoundingClientRect();
    return this.#from + ((clientX - left) / width) * this.#width;
  }

  /** Follows a pointer until it is let go. */
  #drag(event, { move, end = () => {} }) {
    this.view.setPointerCapture(event.pointerId);
    const onMove = (moved) => move(this.#secondsAt(moved.clientX), moved);
    const onEnd = (ended) => {
      this.view.removeEventListener('pointermove', onMove);
      this.view.removeEventListener('pointerup', onEnd);
      this.view.removeEventListener('pointercancel', onEnd);
      end(ended);
    };
    this.view.addEventListener('pointermove', onMove);
    this.view.addEventListener('pointerup', onEnd);
    this.view.addEventListener('pointercancel', onEnd);
  }

  #onPointer(event) {
    const handle = /** @type {?HTMLElement} */ (event.target.closest('[data-edge]'));
    if (event.button !== 0) return;
    if (handle) return this.#dragHandle(event, handle.dataset);
    const began = this.#secondsAt(event.clientX);
    if (this.tool !== 'anew') {
      this.#seek(began);
      return this.#drag(event, { move: (seconds) => this.#seek(seconds) });
    }
    let index = -1;
    return this.#drag(event, {
      move: (seconds, moved) => {
        const edges = { start: Math.min(began, seconds), end: Math.max(began, seconds) };
        if (index >= 0) this.moveRegion(index, seconds < began ? { start: edges.start } : { end: edges.end });
        else if (Math.abs(moved.clientX - event.clientX) > CLICK && this.addRegion(edges.start, edges.end)) index = this.current;
      },
      end: () => index < 0 && this.#seek(began),
    });
  }

  #dragHandle(event, { edge, index }) {
    this.#isDragged = true;
    this.#drag(event, {
      move: (seconds) => this.#moveEdge(edge, Number(index), seconds),
      end: () => {
        this.#isDragged = false;
        if (this.tool === 'extend') this.whole();
        /** @type {HTMLElement} */ (this.marks.querySelector(`[data-mark="${edge}-${index}"]`))?.focus();
      },
    });
  }

  #moveEdge(edge, index, seconds) {
    if (edge === 'before') this.setEnd('before', -seconds);
    else if (edge === 'after') this.setEnd('after', seconds - this.#duration);
    else this.moveRegion(index, { [edge]: seconds });
  }

  #seek(seconds) {
    this.dispatchEvent(new CustomEvent('seek', { detail: clamp(seconds, 0, this.#duration) }));
  }

  #onWheel(event) {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey && event.deltaX === 0) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) this.zoom(-Math.sign(event.deltaY) / 2, this.#secondsAt(event.clientX));
    else this.#show(this.#from + ((event.deltaX || event.deltaY) / 500) * this.#width);
  }

  #onHeadKey(event) {
    const steps = FINE[event.key];
    const target = { Home: 0, End: this.#duration }[event.key] ?? (steps ? this.position + steps * this.#step : undefined);
    if (target === undefined) return;
    event.preventDefault();
    this.#seek(target);
  }

  /** What a key moves by: the hundredth part of what is shown. */
  get #step() {
    return this.#width / 100;
  }

  #mark() {
    const active = /** @type {HTMLElement} */ (document.activeElement);
    const focused = this.marks.contains(active) ? active.dataset.mark : null;
    const share = (seconds) => (seconds - this.#from) / this.#width;
    this.marks.replaceChildren(...marksOf(this, share, (event, edge, index, at) => this.#onHandleKey(event, edge, index, at)));
    if (focused) /** @type {HTMLElement} */ (this.marks.querySelector(`[data-mark="${focused}"]`))?.focus();
  }

  #onHandleKey(event, kind, index, at) {
    const steps = FINE[event.key];
    if (steps) {
      event.preventDefault();
      this.#moveEdge(kind, index, at + steps * this.#step);
    } else if ((event.key === 'Delete' || event.key === 'Backspace') && ['start', 'end'].includes(kind)) {
      event.preventDefault();
      this.removeRegion(index);
      this.head.focus();
    }
  }

  #draw() {
    const [from, to] = [this.#from, this.#to];
    this.ruler.replaceChildren(...ticks(from, to, this.view.clientWidth || 1));
    if (!this.#sound) return;
    const style = getComputedStyle(this.element);
    drawEnvelope(this.envelope, this.#overview, from, to, style.getPropertyValue('--envelope').trim());
    drawSpectrogram(this.spectrum, this.#sound, from, to);
  }
}
