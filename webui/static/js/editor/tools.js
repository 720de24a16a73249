/** The editor's tools: what each asks the person, and the requests that it makes of the answers. */

import { fillMixBar } from '../colours.js';
import { el, fillSlider, refill } from '../dom.js';
import { mixName } from '../format.js';
import { notice } from '../notices.js';
import * as requests from './requests.js';
import { EDITOR as TEXT, TOOLS } from '../texts.js';

/** @typedef {import('./timeline.js').Timeline} Timeline */
/** @typedef {{job: import('../api.js').Job, settings: Record<string, any>, seconds: number}} Subject */

/** A slider with its number, from 0 to 1. */
function share(name, value, hint) {
  const slider = /** @type {HTMLInputElement} */ (el('input', { type: 'range', class: 'plain-range', min: 0, max: 1, step: 0.01, value, 'aria-label': name }));
  const output = el('output', { class: 'share' });
  const show = () => {
    fillSlider(slider);
    output.textContent = Number(slider.value).toFixed(2);
  };
  slider.addEventListener('input', show);
  show();
  return { element: el('label', { class: 'share-row', title: hint }, el('span', {}, name), slider, output), value: () => slider.valueAsNumber };
}

function secondsField(label, onchange) {
  const input = /** @type {HTMLInputElement} */ (el('input', { type: 'number', class: 'number', min: 0, step: 0.1, 'aria-label': label, onchange: () => onchange(input.valueAsNumber) }));
  return input;
}

export class Tools {
  #strength = share(TEXT.strength, 0.6, TEXT.strengthHint);
  #mixStrength = share(TEXT.strength, 0.7, TEXT.strengthHint);
  #distance = share(TEXT.variation, 0.25, TEXT.variationHint);
  #mixes = { games: {}, end: {} };
  /** Of each region, its fields. @type {{start: HTMLInputElement, end: HTMLInputElement}[]} */
  #fields = [];

  /** @param {Timeline} timeline @param {() => Record<string, number>} instrumentMix the mix of the instrument */
  constructor(timeline, instrumentMix) {
    Object.assign(this, { timeline, instrumentMix });
    this.pane = el('div', { class: 'tool-pane' });
    this.before = secondsField(TEXT.before, (seconds) => timeline.setEnd('before', seconds));
    this.after = secondsField(TEXT.after, (seconds) => timeline.setEnd('after', seconds));
    timeline.addEventListener('regions', () => this.#showRegions());
    timeline.addEventListener('ends', () => this.#showEnds());
  }

  /** @param {import('../api.js').Job} job */
  open(job) {
    this.#mixes = { games: job.request.games, end: this.instrumentMix() };
  }

  /** Fills the pane for the tool of the timeline. */
  show() {
    const panes = {
      anew: () => this.#regions(),
      extend: () => this.#ends(),
      reshape: () => [this.#strength.element],
      vary: () => [this.#distance.element],
      loop: () => [],
      mix: () => [this.#mixRow('games', TEXT.mixStart), this.#mixRow('end', TEXT.mixEnd), this.#mixStrength.element],
    };
    const hint = el('p', { class: 'tool-hint' }, TOOLS[this.timeline.tool].hint);
    refill(this.pane, hint, ...panes[this.timeline.tool]());
  }

  /**
   * What to ask the server for, or a sentence on what is missing.
   * @param {Subject} subject @returns {Record<string, any>[]|string}
   */
  requests({ job, settings, seconds }) {
    const { regions, before, after } = this.timeline;
    const makers = {
      anew: () => (regions.length ? requests.anew(job, settings, regions) : TEXT.noRegion),
      extend: () => (before + after > 0 ? requests.extended(job, settings, before, after) : TEXT.noExtension),
      reshape: () => requests.reshaped(job, settings, this.#strength.value()),
      vary: () => requests.variations(job, this.#distance.value()),
      loop: () => requests.looped(job, settings, seconds),
      mix: () => requests.mixed(job, settings, { ...this.#mixes, strength: this.#mixStrength.value(), seconds }),
    };
    return makers[this.timeline.tool]();
  }

  /** Marks a region where the playhead is. */
  addRegion() {
    if (!this.timeline.addRegionHere()) notice(TEXT.noRoom);
  }

  #regions() {
    const { timeline } = this;
    this.#fields = [];
    const rows = timeline.regions.map((_, index) => {
      const field = (edge, label) => {
        const input = secondsField(label, (seconds) => timeline.moveRegion(index, { [edge]: seconds }));
        input.step = '0.01';
        return input;
      };
      const number = index + 1;
      const { start, end } = this.#fields[index] = { start: field('start', TEXT.start(number)), end: field('end', TEXT.end(number)) };
      return el('li', { class: 'region-row' }, el('span', {}, TEXT.region(number)), start, '\u2013', end, 's',
        el('button', { type: 'button', class: 'chip', 'aria-label': TEXT.remove(number), onclick: () => timeline.removeRegion(index) }, '\u2715'));
    });
    this.#fillRegions();
    return [el('ol', { class: 'regions', 'aria-label': TEXT.regions }, ...rows), el('button', { type: 'button', class: 'chip', onclick: () => this.addRegion() }, TEXT.addRegion)];
  }

  /** Rows that stay are filled anew and not replaced: the Tab key is on its way from one of their fields. */
  #showRegions() {
    if (this.timeline.tool === 'anew' && this.#fields.length === this.timeline.regions.length) this.#fillRegions();
    else this.show();
  }

  #fillRegions() {
    this.timeline.regions.forEach((region, index) => {
      for (const [edge, input] of Object.entries(this.#fields[index])) input.value = region[edge].toFixed(2);
    });
  }

  #ends() {
    this.#showEnds();
    return [el('p', { class: 'ends' }, el('label', {}, TEXT.before, ' ', this.before), el('label', {}, TEXT.after, ' ', this.after))];
  }

  #showEnds() {
    this.before.value = String(Math.round(this.timeline.before * 100) / 100);
    this.after.value = String(Math.round(this.timeline.after * 100) / 100);
  }

  #mixRow(end, label) {
    const bar = el('div', { class: 'mix-bar thin', 'aria-hidden': 'true' });
    fillMixBar(bar, this.#mixes[end]);
    const take = () => {
      this.#mixes[end] = this.instrumentMix();
      this.show();
    };
    return el('div', { class: 'mix-row' }, el('span', {}, label, ' ', el('strong', {}, mixName(this.#mixes[end]))), bar,
      el('button', { type: 'button', class: 'chip', 'aria-label': `${label}: ${TEXT.takeMix}`, onclick: take }, TEXT.takeMix));
  }
}
