/** A row for each thing that the model is told beside games, such as the tempo: usual, set or free. */

import { el, fillSlider } from '../dom.js';
import { short } from '../format.js';
import { isRecord } from '../storage.js';
import { CONTROLS as TEXT } from '../texts.js';
import { makeModes, makeToldRow, stepOf } from './told_kinds.js';

export class ToldControls {
  /** @type {any[]} */
  #rows = [];

  /** @param {(value: Record<string, any>) => void} changed gets what is not as usual: a value, or null for free */
  constructor(changed) {
    this.changed = changed;
  }

  /** @param {any[]} controls what /api/health lists @returns {HTMLElement[]} */
  setControls(controls) {
    const make = (control) => (control.kind === 'number' ? this.#makeRow(control) : makeToldRow(control, () => this.#tell()));
    this.#rows = controls.map(make).filter(Boolean);
    return [...this.#rows.map((row) => row.element), ...(this.#rows.length ? [el('p', { class: 'field-error', id: 'error-controls' })] : [])];
  }

  /** @param {any} values */
  show(values) {
    const said = isRecord(values) ? values : {};
    for (const row of this.#rows) row.show(Object.hasOwn(said, row.id) ? said[row.id] : undefined);
  }

  #tell() {
    const said = this.#rows.filter((row) => row.value() !== undefined);
    this.changed(Object.fromEntries(said.map((row) => [row.id, row.value()])));
  }

  /** Its value is a number, null where the model shall be told nothing, or undefined where it is as usual. */
  #makeRow({ id, label, unit, low, high }) {
    const step = stepOf(low, high);
    const select = makeModes(id, label, TEXT.numberHint);
    const slider = /** @type {HTMLInputElement} */ (el('input', { type: 'range', min: Math.ceil(low / step) * step, max: Math.floor(high / step) * step, step, id: `control-${id}`, 'aria-label': label, class: 'plain-range' }));
    const number = /** @type {HTMLInputElement} */ (el('input', { type: 'number', id: `control-number-${id}`, class: 'number', min: low, max: high, step, 'aria-label': TEXT.number(label), 'aria-describedby': 'error-controls' }));
    const element = el('div', { class: 'parameter control' },
      el('label', { for: `control-${id}`, title: TEXT.numberHint }, label, ' ', el('span', { class: 'unit' }, unit)), select, slider, number);
    const mode = (name) => { select.value = name; element.dataset.mode = name; };
    slider.oninput = () => { number.value = slider.value; mode('set'); this.#tell(); };
    number.oninput = () => { slider.value = number.value; mode('set'); this.#tell(); };
    select.onchange = () => { mode(select.value); this.#tell(); };
    const show = (value) => {
      mode(value === undefined ? 'usual' : value === null ? 'free' : 'set');
      if (Number.isFinite(value)) {
        if (number.valueAsNumber !== value) number.value = short(value);
        slider.value = String(value);
      }
      fillSlider(slider);
    };
    slider.value = String(Math.round((low + high) / 2 / step) * step);
    number.value = slider.value;
    fillSlider(slider);
    mode('usual');
    const values = { usual: () => undefined, free: () => null, set: () => (Number.isFinite(number.valueAsNumber) ? number.valueAsNumber : '') };
    return { id, element, show, value: () => values[select.value]() };
  }
}
