/** The mixer: a fader per game from -1 (away from it) to 1 (towards it), with solo. */

import { colour, fillMixBar } from './colours.js';
import { byId, el } from './dom.js';
import { short, shares } from './format.js';

const SEARCH_FROM = 13; // games
const SNAP = 0.03; // a fader dragged this near to 0 is at 0

/** @typedef {{row: HTMLElement, slider: HTMLInputElement, number: HTMLInputElement, solo: HTMLElement}} Fader */

export class Mixer extends EventTarget {
  /** @type {Map<string, Fader>} */
  #faders = new Map();
  /** Without a prototype: a game may be called "constructor". @type {Record<string, number>} */
  #weights = Object.create(null);
  #soloed = new Set();
  /** Hides the faders that are not looked for. */
  #filter = () => {};

  constructor() {
    super();
    byId('mix-random').onclick = () => this.randomise();
    byId('mix-normalise').onclick = () => this.normalise();
    byId('mix-clear').onclick = () => this.set({});
    this.#initSearch();
  }

  /** The games of a model, and where their faders stand. @param {import('./api.js').Game[]} games @param {Record<string, number>} weights */
  setGames(games, weights) {
    this.#faders = new Map(games.map((game) => [game.name, this.#makeFader(game)]));
    byId('faders').replaceChildren(...[...this.#faders.values()].map((fader) => fader.row));
    const isLong = games.length >= SEARCH_FROM;
    byId('finder').hidden = !isLong;
    byId('faders').classList.toggle('many', isLong);
    if (!isLong) this.#clearSearch();
    this.set(weights);
  }

  /** @param {string} name */
  has(name) {
    return this.#faders.has(name);
  }

  /** The mix to generate from: the soloed games if there are any, else all that are not at 0. */
  get weights() {
    const entries = Object.entries(this.#weights).filter(([name, weight]) => weight !== 0 && this.#sounds(name));
    return Object.fromEntries(entries);
  }

  /** All fader positions; what lies beyond a fader's range is scaled into it as a whole. */
  set(weights) {
    const largest = Math.max(1, ...Object.values(weights).filter(Number.isFinite).map(Math.abs));
    this.#soloed.clear();
    this.#weights = Object.create(null);
    for (const [name, weight] of Object.entries(weights)) {
      if (this.#faders.has(name) && Number.isFinite(weight)) this.#weights[name] = weight / largest;
    }
    for (const name of this.#faders.keys()) this.#show(name);
    this.#filter();
    this.#changed();
  }

  /** Two to four games, at random, adding up to 1. */
  randomise() {
    const names = [...this.#faders.keys()].sort(() => Math.random() - 0.5);
    const count = Math.min(names.length, 2 + Math.floor(Math.random() * 3));
    const raw = names.slice(0, count).map((name) => [name, 0.15 + Math.random()]);
    const sum = raw.reduce((total, [, weight]) => total + weight, 0);
    this.set(Object.fromEntries(raw.map(([name, weight]) => [name, Math.round((weight / sum) * 100) / 100])));
  }

  normalise() {
    const all = Object.values(this.#weights).reduce((total, weight) => total + Math.abs(weight), 0);
    if (all === 0) return;
    this.set(Object.fromEntries(Object.entries(this.#weights).map(([name, weight]) => [name, weight / all])));
  }

  #sounds(name) {
    return this.#soloed.size === 0 || this.#soloed.has(name);
  }

  /** @param {import('./api.js').Game} game @returns {Fader} */
  #makeFader(game) {
    const slider = el('input', { type: 'range', min: -1, max: 1, step: 0.01, class: 'fader', 'aria-label': `Weight of ${game.name}` });
    const number = el('input', { type: 'number', min: -1, max: 1, step: 0.05, class: 'number', 'aria-label': `Weight of ${game.name}, as a number` });
    const solo = el('button', { type: 'button', class: 'solo', 'aria-pressed': 'false', 'aria-label': `Solo ${game.name}`, title: `Hear only ${game.name}` }, 'S');
    const name = el('span', { class: 'game' },
      el('span', { class: 'game-name', title: `${game.name}: ${game.tracks} tracks in training` }, game.name),
      el('span', { class: 'tracks' }, `${game.tracks} ${game.tracks === 1 ? 'track' : 'tracks'}`));
    const row = colour(el('li', { class: 'fader-row' }, name, slider, number, solo), game.name);
    slider.oninput = () => this.#move(game.name, Math.abs(slider.valueAsNumber) < SNAP ? 0 : slider.valueAsNumber, slider);
    slider.ondblclick = () => this.#move(game.name, 0);
    number.oninput = () => this.#move(game.name, Math.min(Math.max(number.valueAsNumber || 0, -1), 1), number);
    number.onchange = () => this.#show(game.name);
    solo.onclick = () => this.#toggleSolo(game.name);
    return { row, slider, number, solo };
  }

  #move(name, weight, source) {
    this.#weights[name] = weight;
    this.#show(name, source);
    this.#changed();
  }

  #toggleSolo(name) {
    if (!this.#soloed.delete(name)) {
      this.#soloed.add(name);
      if (!this.#weights[name]) this.#weights[name] = 1;
    }
    for (const other of this.#faders.keys()) this.#show(other);
    this.#changed();
  }

  /** Draws one fader; the control that is being used (`source`) keeps what it shows. */
  #show(name, source) {
    const { row, slider, number, solo } = this.#faders.get(name);
    const weight = this.#weights[name] ?? 0;
    const snapped = source === slider && weight === 0;
    if (source !== slider || snapped) slider.value = String(weight);
    if (source !== number) number.value = short(Math.round(weight * 100) / 100);
    row.style.setProperty('--value', String(weight));
    row.classList.toggle('at-zero', weight === 0);
    row.classList.toggle('muted', !this.#sounds(name));
    solo.setAttribute('aria-pressed', String(this.#soloed.has(name)));
  }

  #changed() {
    const bar = byId('mix-bar');
    fillMixBar(bar, this.weights);
    const spoken = shares(this.weights).map(({ name, share }) => `${name} ${Math.round(share * 100)} percent`);
    bar.setAttribute('aria-label', `The mix: ${spoken.join(', ') || 'empty'}`);
    this.dispatchEvent(new Event('change'));
  }

  #clearSearch() {
    byId('mix-search').value = '';
    byId('mix-used').setAttribute('aria-pressed', 'false');
  }

  #initSearch() {
    const used = byId('mix-used');
    this.#filter = () => {
      const words = byId('mix-search').value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
      const onlyUsed = used.getAttribute('aria-pressed') === 'true';
      let found = 0;
      for (const [name, { row }] of this.#faders) {
        const fits = words.every((word) => name.toLocaleLowerCase().includes(word));
        row.hidden = !fits || (onlyUsed && !this.#weights[name]);
        found += row.hidden ? 0 : 1;
      }
      byId('none-found').hidden = found > 0;
    };
    byId('mix-search').oninput = () => this.#filter();
    used.onclick = () => {
      used.setAttribute('aria-pressed', String(used.getAttribute('aria-pressed') !== 'true'));
      this.#filter();
    };
  }
}
