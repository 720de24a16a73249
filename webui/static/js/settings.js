/**
 * Everything of a request but its games: seed, length, steps, guidance, what the model is told beside games, such as the
 * tempo, and the choices under "More". What else says how clips are made has no controls: it is what the model recommends, or what a clip has whose settings are used again.
 */

import { byId, el, setText } from './dom.js';
import { icon } from './icons.js';
import { short } from './format.js';
import { makeToldRow, stepOf } from './told.js';

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
/** Fields that belong to one choice, as sampling/recommended.py has it. */
const BELONGS_TO = { sampler_options: 'sampler', rho: 'schedule' };
const MAX_SEED = 2 ** 32;

export const randomSeed = () => Math.floor(Math.random() * MAX_SEED);

export class SettingsPanel extends EventTarget {
  /** @type {Map<string, (value: any) => void>} */
  #setters = new Map();
  /** @type {Map<string, () => any>} */
  #getters = new Map();
  /** What the model recommends, or else the defaults. @type {Record<string, any>} */
  #defaults = {};
  /** What holds where no model recommends anything. @type {Record<string, any>} */
  #plain = {};
  /** Fields without a control. @type {Record<string, any>} */
  #hidden = {};

  constructor() {
    super();
    this.#initSeed();
    byId('recommended').onclick = () => this.#setRecommended();
  }

  /**
   * @param {any} options what /api/options says @param {any[]} controls what /api/health lists
   * @param {Record<string, any>} values that differ from the options @param {any} seedMode
   */
  setOptions(options, controls, values, seedMode) {
    byId('parameters').replaceChildren(...PARAMETERS.map((parameter) => this.#makeParameter(parameter, options.fields[parameter.name])));
    this.#makeControls(controls);
    byId('selects').replaceChildren(...CHOICES.map((choice) => this.#makeChoice(choice, options[choice.options])));
    this.#defaults = Object.fromEntries(Object.entries(options.fields).map(([name, field]) => [name, field.default]));
    this.#plain = options.plain;
    this.#hidden = Object.fromEntries(Object.entries(options.plain).filter(([name]) => !this.#getters.has(name)));
    this.set({ ...this.#defaults, seed: randomSeed(), ...values });
    if (typeof seedMode === 'string') this.seedMode = seedMode;
  }

  /** Brings fields back to what the model recommends. @param {string[]} names */
  reset(names) {
    const known = names.filter((name) => name in this.#defaults && name !== 'seed');
    if (known.length) this.set(Object.fromEntries(known.map((name) => [name, this.#defaults[name]])));
  }

  /** The values as the server takes them; an empty number is null, which it refuses with a sentence. */
  get values() {
    return { ...this.#hidden, ...Object.fromEntries([...this.#getters].map(([name, get]) => [name, get()])) };
  }

  /** The values to remember: those that differ from the model's, which may recommend others by the next visit. */
  get changes() {
    const values = this.values;
    const isChanged = (name) => JSON.stringify(values[name]) !== JSON.stringify(this.#defaults[name]);
    const changed = Object.keys(values).filter(isChanged);
    const owners = changed.map((name) => BELONGS_TO[name]).filter(Boolean);
    return Object.fromEntries(['seed', ...changed, ...owners].map((name) => [name, values[name]]));
  }

  /** Takes over what is known here and leaves the rest. */
  set(values) {
    for (const [name, value] of Object.entries(values)) {
      this.#setters.get(name)?.(value);
      if (name in this.#hidden) this.#hidden[name] = value;
    }
    this.#changed();
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
    this.#changed();
  }

  /** How clips are made, as the model recommends it; their seed and length stay. */
  #setRecommended() {
    const { seed, seconds } = this.values;
    this.set({ ...this.#defaults, seed, seconds });
  }

  /** Another sampler or schedule was chosen: what belongs to it is what the model recommends with it, or nothing. */
  #choose(choice) {
    for (const [name, owner] of Object.entries(BELONGS_TO)) {
      if (owner !== choice) continue;
      const from = this.values[choice] === this.#defaults[choice] ? this.#defaults : this.#plain;
      this.#hidden[name] = from[name];
    }
    this.#changed();
  }

  #changed() {
    const isRecommended = Object.keys(this.changes).every((name) => name === 'seed' || name === 'seconds');
    byId('recommended').disabled = isRecommended;
    setText(byId('hidden-settings'), differences(this.#hidden, this.#plain));
    this.dispatchEvent(new Event('change'));
  }

  #initSeed() {
    const seed = byId('seed');
    seed.setAttribute('aria-describedby', 'error-seed');
    byId('seed-dice').append(icon('dice'));
    byId('seed-dice').onclick = () => this.set({ seed: randomSeed() });
    this.#setters.set('seed', (value) => { if (Number.isSafeInteger(value)) seed.value = String(value); });
    this.#getters.set('seed', () => numberOf(seed));
    const changed = () => this.#changed();
    seed.oninput = changed;
    for (const radio of document.querySelectorAll('input[name=seed-mode]')) radio.addEventListener('change', changed);
  }

  #makeParameter({ name, label, unit, min, max, step, hint }, limits = {}) {
    const describedBy = `error-${name}`;
    const slider = el('input', { type: 'range', min, max, step, id: `slider-${name}`, 'aria-label': label, class: 'plain-range' });
    const number = el('input', { type: 'number', id: `number-${name}`, class: 'number', min: limits.ge ?? step, max: limits.le, step, 'aria-label': `${label}, as a number`, 'aria-describedby': describedBy });
    const fill = () => slider.style.setProperty('--fill', String((slider.valueAsNumber - min) / (max - min)));
    slider.oninput = () => { number.value = slider.value; fill(); this.#changed(); };
    number.oninput = () => { slider.value = number.value; fill(); this.#changed(); };
    this.#setters.set(name, (value) => {
      if (!Number.isFinite(value)) return;
      number.value = short(value);
      slider.value = String(value);
      fill();
    });
    this.#getters.set(name, () => numberOf(number));
    return el('div', { class: 'parameter', 'data-field': name },
      el('label', { for: `slider-${name}`, title: hint }, label), slider,
      el('span', { class: 'with-unit' }, number, el('span', { class: 'unit', 'aria-hidden': 'true' }, unit)),
      el('p', { class: 'field-error', id: describedBy }));
  }

  /** A row for each control of the model; the request's field `controls` holds those that are not "as usual". */
  #makeControls(controls) {
    const rows = controls.map((control) => (control.kind === 'number' ? this.#makeControl(control) : makeToldRow(control, () => this.#changed()))).filter(Boolean);
    byId('controls').replaceChildren(...rows.map((row) => row.element), ...(rows.length ? [el('p', { class: 'field-error', id: 'error-controls' })] : []));
    this.#getters.set('controls', () => Object.fromEntries(rows.filter((row) => row.value() !== undefined).map((row) => [row.id, row.value()])));
    this.#setters.set('controls', (values) => {
      const said = values !== null && typeof values === 'object' ? values : {};
      for (const row of rows) row.set(Object.hasOwn(said, row.id) ? said[row.id] : undefined);
    });
  }

  /** Its value is a number, null where the model shall be told nothing, or undefined where it is as usual. */
  #makeControl({ id, label, unit, low, high }) {
    const modes = { usual: 'usual', set: 'set', free: 'free' };
    const hints = 'usual: as the games have it, another for each seed; set: the number beside; free: the model chooses';
    const select = /** @type {HTMLSelectElement} */ (el('select', { id: `control-mode-${id}`, 'aria-label': `${label}: usual, set or free`, title: hints }, ...Object.entries(modes).map(([value, text]) => el('option', { value }, text))));
    const step = stepOf(low, high);
    const slider = el('input', { type: 'range', min: Math.ceil(low / step) * step, max: Math.floor(high / step) * step, step, id: `control-${id}`, 'aria-label': label, class: 'plain-range' });
    const number = el('input', { type: 'number', id: `control-number-${id}`, class: 'number', min: low, max: high, step, 'aria-label': `${label}, as a number`, 'aria-describedby': 'error-controls' });
    const fill = () => slider.style.setProperty('--fill', String((slider.valueAsNumber - slider.min) / (slider.max - slider.min)));
    const element = el('div', { class: 'parameter control' },
      el('label', { for: `control-${id}`, title: hints }, label, ' ', el('span', { class: 'unit' }, unit)), select, slider, number);
    const show = (mode) => { select.value = mode; element.dataset.mode = mode; };
    const changed = () => { show('set'); fill(); this.#changed(); };
    slider.oninput = () => { number.value = slider.value; changed(); };
    number.oninput = () => { slider.value = number.value; changed(); };
    select.onchange = () => { show(select.value); this.#changed(); };
    const set = (value) => {
      show(value === undefined ? 'usual' : value === null ? 'free' : 'set');
      if (!Number.isFinite(value)) return;
      number.value = short(value);
      slider.value = String(value);
      fill();
    };
    slider.value = String(Math.round((low + high) / 2 / step) * step);
    number.value = slider.value;
    fill();
    show('usual');
    const values = { usual: () => undefined, free: () => null, set: () => (Number.isFinite(number.valueAsNumber) ? number.valueAsNumber : '') };
    return { id, element, set, value: () => values[select.value]() };
  }

  #makeChoice({ name, label }, options) {
    const select = /** @type {HTMLSelectElement} */ (el('select', { id: `select-${name}`, 'aria-describedby': `error-${name}` }, ...options.map((option) => el('option', { value: option }, option))));
    select.onchange = () => this.#choose(name);
    this.#setters.set(name, (value) => { if (options.includes(value)) select.value = value; });
    this.#getters.set(name, () => select.value);
    return el('div', { class: 'choice', 'data-field': name }, el('label', { for: `select-${name}` }, label), select, el('p', { class: 'field-error', id: `error-${name}` }));
  }
}

/** @param {HTMLInputElement} input */
function numberOf(input) {
  return Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null;
}

/** In words, what differs of settings from others of the same names, such as "sampler options: reinjection 0.8". */
function differences(settings, others) {
  const words = (name) => name.replaceAll('_', ' ');
  const isSame = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const text = (value, other) => {
    if (Array.isArray(value)) return value.join(' to ');
    if (value === null || typeof value !== 'object') return String(value ?? 'none');
    const parts = Object.entries(value).filter(([name, part]) => !isSame(part, other?.[name]));
    return parts.map(([name, part]) => `${words(name)} ${text(part, other?.[name])}`).join(', ') || 'none';
  };
  const changed = Object.keys(settings).filter((name) => !isSame(settings[name], others[name]));
  return changed.map((name) => `${words(name)}: ${text(settings[name], others[name])}`).join(' \u00b7 ');
}
