/**
 * The mixer: a fader per game from -1 (away from it) to 1 (towards it), with solo, for one mix or for two, at the start
 * and at the end. Of a few games all have a fader; of many, those of the mix, and a search adds others.
 */

import { colour, fillMixBar } from './colours.js';
import { byId, el } from './dom.js';
import { short, shares } from './format.js';
import { GameFinder } from './game_finder.js';
import { MIXER as TEXT } from './texts.js';

const MANY = 13; // games
const SNAP = 0.03; // a fader dragged this near to 0 is at 0

/** @typedef {{row: HTMLElement, slider: HTMLInputElement, number: HTMLInputElement, solo: HTMLElement}} Fader */
/** Without a prototype: a game may be called "constructor". @returns {Record<string, number>} */
const emptyMix = () => Object.create(null);

export class Mixer extends EventTarget {
  /** @type {Map<string, import('./api.js').Game>} */
  #games = new Map();
  /** Those that are shown. @type {Map<string, Fader>} */
  #faders = new Map();
  /** Fader positions; the end is null where the mix does not change. @type {{start: Record<string, number>, end: ?Record<string, number>}} */
  #mixes = { start: emptyMix(), end: null };
  #side = 'start';
  /** The soloed games, and where their faders stood before. @type {Map<string, number>} */
  #soloed = new Map();
  #finder = new GameFinder((name) => this.#add(name));

  constructor() {
    super();
    byId('mix-random').onclick = () => this.#setSide(this.#randomMix());
    byId('mix-normalise').onclick = () => this.#normalise();
    byId('mix-clear').onclick = () => this.#setSide({});
    const moves = byId('mix-moves');
    moves.onchange = () => this.#setEnd(moves.checked ? this.#mixes.start : null);
    for (const button of byId('mix-sides').children) button.onclick = () => this.#show(button.dataset.side);
  }

  get #isLong() {
    return this.#games.size >= MANY;
  }

  /** The faders that are seen now. */
  get #weights() {
    return this.#mixes[this.#side] ?? this.#mixes.start;
  }

  /** The games of a model, and where their faders stand. @param {import('./api.js').Game[]} games @param {any} state */
  setGames(games, state) {
    this.#games = new Map(games.map((game) => [game.name, game]));
    this.#faders.clear();
    byId('mix').hidden = games.length === 0; // an unconditional model's
    byId('finder').hidden = !this.#isLong;
    byId('faders').classList.toggle('many', this.#isLong);
    this.#finder.setGames(games.map((game) => game.name));
    this.restore(state);
  }

  /** @param {string} name */
  has(name) {
    return this.#games.has(name);
  }

  /** The mix to generate from: the soloed games if there are any, else all that are not at 0. */
  get weights() {
    return this.#sounding(this.#mixes.start);
  }

  /** The mix at the end; null where it does not change. */
  get end() {
    return this.#mixes.end && this.#sounding(this.#mixes.end);
  }

  /** Everything that a reload must bring back. */
  get state() {
    return { games: { ...this.#mixes.start }, games_end: this.#mixes.end && { ...this.#mixes.end }, solo: Object.fromEntries(this.#soloed) };
  }

  /** @param {{games: any, games_end?: any, solo?: any}} state of `state`, or as a request has it */
  restore({ games, games_end: end = null, solo = {} }) {
    this.#soloed.clear();
    const fittedEnd = this.#fitted(end ?? {});
    this.#mixes = { start: this.#fitted(games ?? {}), end: Object.keys(fittedEnd).length ? fittedEnd : null };
    for (const [name, before] of Object.entries(solo)) {
      if (this.has(name) && Number.isFinite(before) && this.#mixes.start[name]) this.#soloed.set(name, before);
    }
    this.#show('start');
    this.#changed();
  }

  /** A mix as fader positions; what lies beyond a fader's range is scaled into it as a whole. */
  #fitted(weights) {
    const largest = Math.max(1, ...Object.values(weights).filter(Number.isFinite).map(Math.abs));
    const known = Object.entries(weights).filter(([name, weight]) => this.has(name) && Number.isFinite(weight));
    return Object.assign(emptyMix(), Object.fromEntries(known.map(([name, weight]) => [name, weight / largest])));
  }

  #sounding(mix) {
    const sounding = Object.entries(mix).filter(([name, weight]) => weight !== 0 && this.#sounds(name));
    // A game that is soloed at one end only is there at the other, too.
    return Object.fromEntries(sounding.length ? sounding : [...this.#soloed.keys()].map((name) => [name, 1]));
  }

  #sounds(name) {
    return this.#soloed.size === 0 || this.#soloed.has(name);
  }

  /** Sets all faders of the mix that is seen. */
  #setSide(weights) {
    this.#soloed.clear();
    this.#mixes[this.#mixes.end ? this.#side : 'start'] = this.#fitted(weights);
    this.#show(this.#side);
    this.#changed();
  }

  #setEnd(weights) {
    this.#mixes.end = weights && this.#fitted(weights);
    this.#show(weights ? 'end' : 'start');
    this.#changed();
  }

  /** Two to four games, at random, adding up to 1. */
  #randomMix() {
    const names = [...this.#games.keys()].sort(() => Math.random() - 0.5);
    const count = Math.min(names.length, 2 + Math.floor(Math.random() * 3));
    const raw = names.slice(0, count).map((name) => [name, 0.15 + Math.random()]);
    const sum = raw.reduce((total, [, weight]) => total + weight, 0);
    return Object.fromEntries(raw.map(([name, weight]) => [name, Math.round((weight / sum) * 100) / 100]));
  }

  #normalise() {
    const all = Object.values(this.#weights).reduce((total, weight) => total + Math.abs(weight), 0);
    if (all !== 0) this.#setSide(Object.fromEntries(Object.entries(this.#weights).map(([name, weight]) => [name, weight / all])));
  }

  /** A game that was looked for: its fader appears, and what was not in the mix is. */
  #add(name) {
    const isEmpty = Object.values(this.#weights).every((weight) => weight === 0);
    if (!this.#weights[name]) this.#weights[name] = isEmpty ? 1 : 0.5;
    this.#show(this.#side);
    this.#faders.get(name).row.scrollIntoView({ block: 'nearest' });
    this.#changed();
  }

  /** Draws the faders of one side: of all games where they are few, else of those that this mix names. */
  #show(side) {
    this.#side = this.#mixes.end ? side : 'start';
    byId('mix-moves').checked = this.#mixes.end !== null;
    byId('mix-sides').hidden = this.#mixes.end === null;
    for (const button of byId('mix-sides').children) button.setAttribute('aria-pressed', String(button.dataset.side === this.#side));
    const names = this.#isLong ? [...this.#games.keys()].filter((name) => name in this.#weights || this.#soloed.has(name)) : [...this.#games.keys()];
    const faders = new Map(names.map((name) => [name, this.#faders.get(name) ?? this.#makeFader(this.#games.get(name))]));
    const isSame = faders.size === this.#faders.size && [...faders.keys()].every((name) => this.#faders.has(name));
    this.#faders = faders;
    if (!isSame) byId('faders').replaceChildren(...[...faders.values()].map((fader) => fader.row));
    byId('none-found').hidden = faders.size > 0;
    for (const name of faders.keys()) this.#draw(name);
  }

  /** @param {import('./api.js').Game} game @returns {Fader} */
  #makeFader(game) {
    const slider = el('input', { type: 'range', min: -1, max: 1, step: 0.01, class: 'fader', 'aria-label': TEXT.weight(game.name) });
    const number = el('input', { type: 'number', min: -1, max: 1, step: 0.05, class: 'number', 'aria-label': TEXT.weightNumber(game.name) });
    const solo = el('button', { type: 'button', class: 'solo', 'aria-pressed': 'false', 'aria-label': TEXT.solo(game.name), title: TEXT.hearOnly(game.name) }, TEXT.soloLetter);
    const name = el('span', { class: 'game' },
      el('span', { class: 'game-name', title: TEXT.trained(game.name, game.tracks) }, game.name),
      el('span', { class: 'tracks' }, TEXT.tracks(game.tracks)));
    const row = colour(el('li', { class: 'fader-row' }, name, slider, number, solo), game.name);
    slider.oninput = () => this.#move(game.name, Math.abs(slider.valueAsNumber) < SNAP ? 0 : slider.valueAsNumber, slider);
    slider.ondblclick = () => this.#move(game.name, 0);
    number.oninput = () => this.#move(game.name, Math.min(Math.max(number.valueAsNumber || 0, -1), 1), number);
    number.onchange = () => this.#draw(game.name);
    solo.onclick = () => this.#toggleSolo(game.name);
    return { row, slider, number, solo };
  }

  #move(name, weight, source) {
    this.#weights[name] = weight;
    this.#draw(name, source);
    this.#changed();
  }

  /** A game at 0 sounds while it is soloed, and is at 0 again afterwards, unless it was moved meanwhile. */
  #toggleSolo(name) {
    const mix = this.#weights;
    if (this.#soloed.has(name)) {
      if (this.#soloed.get(name) === 0 && mix[name] === 1) mix[name] = 0;
      this.#soloed.delete(name);
    } else {
      this.#soloed.set(name, mix[name] ?? 0);
      if (!mix[name]) mix[name] = 1;
    }
    for (const other of this.#faders.keys()) this.#draw(other);
    this.#changed();
  }

  /** Draws one fader; the control that is being used (`source`) keeps what it shows. */
  #draw(name, source) {
    if (!this.#faders.has(name)) return; // taken away while it had the focus
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
    const { weights, end } = this;
    fillMixBar(bar, this.#side === 'end' && end ? end : weights);
    const inWords = (mix) => TEXT.shares(shares(mix));
    bar.setAttribute('aria-label', TEXT.mix(inWords(weights), end && inWords(end)));
    this.dispatchEvent(new Event('change'));
  }
}
