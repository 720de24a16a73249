/** Asking for a grid: one or two axes and their values, and the sheets of earlier ones. */

import { call } from '../api.js';
import { hasGames } from '../colours.js';
import { ELSEWHERE } from '../controls/groups.js';
import { get, labelOf } from '../controls/keys.js';
import { byId, el, setText } from '../dom.js';
import { announce } from '../notices.js';
import { GRID as TEXT } from '../texts.js';

const NOT_AXES = new Set(['source.start', 'source.seconds', 'inpaint', 'seconds', 'precision']);
const LISTED = 8;

export class GridDialog {
  /** @type {{key: HTMLSelectElement, values: HTMLInputElement}[]} */
  #axes = [];
  #isAsking = false;

  /** @param {import('../panel.js').Panel} panel @param {import('./contact_sheet.js').ContactSheet} sheet */
  constructor(panel, sheet) {
    Object.assign(this, { panel, sheet });
    byId('grid-open').onclick = () => this.#open();
    byId('grid-go').onclick = () => this.#make();
  }

  #open() {
    this.#axes = [this.#makeAxis(0, 'cfg_scale'), this.#makeAxis(1, 'seed')];
    byId('grid-axes').replaceChildren(...this.#axes.map((axis) => axis.key.closest('.grid-axis')));
    this.#count();
    setText(byId('error-axes'), '');
    this.#list();
    byId('grid').showModal();
  }

  #keys() {
    const fields = [...this.panel.schema.fields, ...this.panel.schema.sampler_options[this.panel.request.sampler] ?? []];
    const basic = ['seed', 'steps', 'cfg_scale', 'loop'];
    return fields.filter((field) => (basic.includes(field.key) || !ELSEWHERE.has(field.key)) && !NOT_AXES.has(field.key) && field.kind !== 'object');
  }

  #makeAxis(number, first) {
    const none = number ? [el('option', { value: '' }, TEXT.none)] : [];
    const games = hasGames() ? [el('option', { value: 'game' }, labelOf('game'))] : [];
    const key = /** @type {HTMLSelectElement} */ (el('select', { id: `grid-key-${number}` }, ...none, ...games, ...this.#keys().map((field) => el('option', { value: field.key }, labelOf(field.key)))));
    const values = /** @type {HTMLInputElement} */ (el('input', { type: 'text', class: 'text-input', id: `grid-values-${number}`, spellcheck: 'false', 'aria-label': TEXT.values[number], 'aria-describedby': 'error-axes' }));
    key.value = first;
    values.value = this.#proposed(first);
    key.onchange = () => { values.value = this.#proposed(key.value); values.disabled = !key.value; this.#count(); };
    values.oninput = () => this.#count();
    el('div', { class: 'grid-axis' }, el('label', { for: key.id }, TEXT.axis[number]), key, values);
    return { key, values };
  }

  /** Values around the present one. */
  #proposed(key) {
    const now = get(this.panel.request, key);
    const field = this.#keys().find((each) => each.key === key);
    if (key === 'game') return Object.keys(this.panel.request.games).join(', ');
    if (key === 'seed') return [0, 1, 2, 3].map((more) => (now ?? 0) + more).join(', ');
    if (field?.choices) return field.choices.slice(0, 4).join(', ');
    if (field?.kind === 'switch') return 'false, true';
    const value = now ?? field?.default;
    if (!Number.isFinite(value)) return '';
    if (field.le === 1 || field.lt === 1) return '0, 0.25, 0.5, 0.75';
    const whole = field.kind === 'integer';
    const near = [0.5, 1, 2].map((factor) => Math.min(Math.max((value || 1) * factor, field.ge ?? 0), field.le ?? Infinity));
    return [...new Set(near.map((each) => (whole ? Math.round(each) : Number(each.toPrecision(3)))))].join(', ');
  }

  /** @returns {{key: string, values: any[]}[]} */
  #read() {
    return this.#axes.filter(({ key }) => key.value).map(({ key, values }) => ({
      key: key.value,
      values: values.value.split(',').map((part) => part.trim()).filter(Boolean).map((part) => asValue(part, key.value === 'game')),
    }));
  }

  #count() {
    const axes = this.#read();
    const clips = axes.reduce((product, axis) => product * axis.values.length, 1);
    const seconds = this.panel.predict(this.panel.request);
    setText(byId('grid-count'), TEXT.clips(clips, seconds * clips));
  }

  async #make() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    byId('grid-go').setAttribute('aria-busy', 'true');
    setText(byId('error-axes'), '');
    try {
      const sheet = await call('POST', '/api/grids', { body: { request: this.panel.request, axes: this.#read() }, patience: 60_000 });
      byId('grid').close();
      announce(TEXT.asked(sheet.jobs.length));
      this.sheet.show(sheet);
    } catch (error) {
      setText(byId('error-axes'), error.message.replace(/^axes: (the grid )?/, ''));
      this.#axes[0].values.focus();
    } finally {
      this.#isAsking = false;
      byId('grid-go').removeAttribute('aria-busy');
    }
  }

  async #list() {
    const { grids } = await call('GET', '/api/grids').catch(() => ({ grids: [] }));
    const box = byId('grid-sheets');
    box.replaceChildren(...(grids.length ? [el('h3', {}, TEXT.earlier)] : []), ...grids.slice(0, LISTED).map((grid) => el('button', {
      type: 'button', class: 'chip', onclick: () => { byId('grid').close(); this.sheet.show(grid); },
    }, TEXT.sheet(grid.axes.map((axis) => labelOf(axis.key)).join(' × '), grid.jobs.length, grid.created))));
  }
}

/** A value as it was typed: JSON, or else a text. */
function asValue(text, isText) {
  if (isText) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
