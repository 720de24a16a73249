/** Everything of a request but its games: seed, length, steps, guidance, and the choices under "More". */

import { byId, el } from './dom.js';
import { icon } from './icons.js';
import { short } from './format.js';

/** The sliders' ranges are the musically useful ones; the number beside takes all that the server takes. */
const PARAMETERS = [
  { name: 'seconds', label: 'Length', unit: 's', min: 1, max: 60, step: 0.5 },
  { name: 'steps', label: 'Steps', unit: '', min: 1, max: 100, step: 1, hint: 'More steps are slower and finer' },
  { name: 'cfg_scale', label: 'Guidance', unit: '×', min: 0, max: 8, step: 0.1, hint: '1 is off; more follows the games more closely' },
];
const CHOICES = [
  { name: 'sampler', label: 'Sampler', options: 'samplers' },
  { name: 'schedule', label: 'Schedule', options: 'schedules' },
];
const MAX_SEED = 2 ** 32;

export const randomSeed = () => Math.floor(Math.random() * MAX_SEED);

export class SettingsPanel extends EventTarget {
  /** @type {Map<string, (value: any) => void>} */
  #setters = new Map();
  /** @type {Map<string, () => any>} */
  #getters = new Map();

  /** @param {any} options what /api/options says @param {Record<string, any>} values remembered ones */
  constructor(options, values) {
    super();
    byId('parameters').replaceChildren(...PARAMETERS.map((parameter) => this.#makeParameter(parameter, options.fields[parameter.name])));
    byId('selects').replaceChildren(...CHOICES.map((choice) => this.#makeChoice(choice, options[choice.options])));
    this.#initSeed();
    const defaults = Object.fromEntries(Object.entries(options.fields).map(([name, field]) => [name, field.default]));
    this.set({ ...defaults, seed: randomSeed(), ...values });
    if (values['seed-mode']) this.seedMode = values['seed-mode'];
  }

  /** The values as the server takes them; an empty number is null, which it refuses with a sentence. */
  get values() {
    return Object.fromEntries([...this.#getters].map(([name, get]) => [name, get()]));
  }

  /** Takes over what is known here and leaves the rest. */
  set(values) {
    for (const [name, value] of Object.entries(values)) this.#setters.get(name)?.(value);
    this.dispatchEvent(new Event('change'));
  }

  get seedMode() {
    return /** @type {any} */ (document.querySelector('input[name=seed-mode]:checked')).value;
  }

  set seedMode(mode) {
    const radio = document.querySelector(`input[name=seed-mode][value=${CSS.escape(mode)}]`);
    if (radio) /** @type {any} */ (radio).checked = true;
  }

  /** Moves the seed on after a clip was asked for. */
  advanceSeed() {
    const seed = byId('seed');
    if (this.seedMode === 'random') seed.value = String(randomSeed());
    if (this.seedMode === 'increment') seed.value = String(seed.valueAsNumber + 1);
    this.dispatchEvent(new Event('change'));
  }

  #initSeed() {
    const seed = byId('seed');
    seed.setAttribute('aria-describedby', 'error-seed');
    byId('seed-dice').append(icon('dice'));
    byId('seed-dice').onclick = () => this.set({ seed: randomSeed() });
    this.#setters.set('seed', (value) => { seed.value = String(value); });
    this.#getters.set('seed', () => numberOf(seed));
    const changed = () => this.dispatchEvent(new Event('change'));
    seed.oninput = changed;
    for (const radio of document.querySelectorAll('input[name=seed-mode]')) radio.addEventListener('change', changed);
  }

  #makeParameter({ name, label, unit, min, max, step, hint }, limits = {}) {
    const describedBy = `error-${name}`;
    const slider = el('input', { type: 'range', min, max, step, id: `slider-${name}`, 'aria-label': label, class: 'plain-range' });
    const number = el('input', { type: 'number', id: `number-${name}`, class: 'number', min: limits.ge ?? step, max: limits.le, step, 'aria-label': `${label}, as a number`, 'aria-describedby': describedBy });
    const fill = () => slider.style.setProperty('--fill', String((slider.valueAsNumber - min) / (max - min)));
    slider.oninput = () => { number.value = slider.value; fill(); this.dispatchEvent(new Event('change')); };
    number.oninput = () => { slider.value = number.value; fill(); this.dispatchEvent(new Event('change')); };
    this.#setters.set(name, (value) => { number.value = short(value); slider.value = String(value); fill(); });
    this.#getters.set(name, () => numberOf(number));
    return el('div', { class: 'parameter', 'data-field': name },
      el('label', { for: `slider-${name}`, title: hint }, label), slider,
      el('span', { class: 'with-unit' }, number, el('span', { class: 'unit', 'aria-hidden': 'true' }, unit)),
      el('p', { class: 'field-error', id: describedBy }));
  }

  #makeChoice({ name, label }, options) {
    const select = /** @type {HTMLSelectElement} */ (el('select', { id: `select-${name}`, 'aria-describedby': `error-${name}` }, ...options.map((option) => el('option', { value: option }, option))));
    select.onchange = () => this.dispatchEvent(new Event('change'));
    this.#setters.set(name, (value) => { if (options.includes(value)) select.value = value; });
    this.#getters.set(name, () => select.value);
    return el('div', { class: 'choice', 'data-field': name }, el('label', { for: `select-${name}` }, label), select, el('p', { class: 'field-error', id: `error-${name}` }));
  }
}

/** @param {HTMLInputElement} input */
function numberOf(input) {
  return Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null;
}
