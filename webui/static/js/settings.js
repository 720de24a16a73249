/**
 * Everything of a request but its mix: seed, length, steps, guidance and what the model is told beside games always in
 * view, and every other key under "Everything", drawn from the server's schema. One object holds the values, whole and
 * exact; controls show them and change them.
 */

import { showChanged } from './controls/changed.js';
import { Curve } from './controls/curve.js';
import { makeControl } from './controls/field.js';
import { ELSEWHERE, GROUPS, groupOf } from './controls/groups.js';
import { WITHOUT_SOURCE, get, isSame, withValue } from './controls/keys.js';
import { ToldControls } from './controls/told.js';
import { byId, el, fillSlider, numberOf, setText } from './dom.js';
import { icon } from './icons.js';
import { short } from './format.js';
import { randomSeed } from './random.js';
import { isSwitch, remember, remembered } from './storage.js';
import { CONTROLS, GROUPS as TITLES, PARAMETERS as TEXTS } from './texts.js';

/** The sliders' ranges are the musically useful ones; the number beside takes all that the server takes. */
const PARAMETERS = [
  { name: 'seconds', min: 1, max: 60, step: 0.5 },
  { name: 'steps', min: 1, max: 100, step: 1 },
  { name: 'cfg_scale', min: 0, max: 8, step: 0.1 },
];
/** Fields that belong to one choice, as sampling/recommended.py has it. */
const BELONGS_TO = { sampler_options: 'sampler', rho: 'schedule' };

export class SettingsPanel extends EventTarget {
  /** The request, but for its mix. @type {Record<string, any>} */
  #values = {};
  /** What the model recommends, or else the defaults. @type {Record<string, any>} */
  #defaults = {};
  /** What holds where no model recommends anything. @type {Record<string, any>} */
  #plain = {};
  /** What shows the values, by dotted key. @type {Map<string, (value: any) => void>} */
  #shows = new Map();
  /** @type {any} */
  #schema = null;
  #told = new ToldControls((value) => this.#edit('controls', value));
  #curve = new Curve();

  constructor() {
    super();
    this.#initSeed();
    byId('recommended').onclick = () => this.#setRecommended();
    const loop = byId('loop');
    loop.onchange = () => this.#edit('loop', loop.checked);
    this.#shows.set('loop', (value) => { loop.checked = value === true; });
    const more = byId('more');
    more.open = remembered('everything', false, isSwitch);
    more.ontoggle = () => { remember('everything', more.open); this.#showCurve(); };
  }

  /**
   * @param {any} options what /api/options and /api/schema say @param {any[]} controls what /api/health lists
   * @param {Record<string, any>} values that differ from the options @param {any} seedMode
   */
  setOptions(options, controls, values, seedMode) {
    this.#schema = options.schema;
    this.#defaults = Object.fromEntries(Object.entries(options.fields).filter(([name]) => name !== 'games' && name !== 'games_end').map(([name, field]) => [name, field.default]));
    this.#plain = options.plain;
    this.#values = { ...this.#defaults };
    byId('parameters').replaceChildren(...PARAMETERS.map((parameter) => this.#makeParameter(parameter, options.fields[parameter.name])));
    byId('controls').replaceChildren(...this.#told.setControls(controls));
    this.#shows.set('controls', (value) => this.#told.show(value));
    this.#makeGroups();
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
    const { label, ...source } = this.#values.source ?? {};
    const { ema, ...values } = { ...this.#values, source: this.#values.source ? source : null };
    return ema === null ? values : { ...values, ema }; // not said, the weights are those that the server has chosen
  }

  /** The values as they are kept, with what a source is called. */
  get all() {
    return this.#values;
  }

  /** What holds where a request says only some fields. @param {Record<string, any>} said */
  unsaid(said) {
    const holds = (name) => !(BELONGS_TO[name] in said) || said[BELONGS_TO[name]] === this.#defaults[BELONGS_TO[name]];
    return Object.fromEntries(Object.keys(this.#defaults).filter((name) => name !== 'seed').map((name) => [name, (holds(name) ? this.#defaults : this.#plain)[name]]));
  }

  /** The values to remember: those that differ from the model's, which may recommend others by the next visit. */
  get changes() {
    const values = this.#values;
    const changed = Object.keys(values).filter((name) => !isSame(values[name], this.#defaults[name]));
    const owners = changed.map((name) => BELONGS_TO[name]).filter(Boolean);
    return Object.fromEntries(['seed', ...changed, ...owners].map((name) => [name, values[name]]));
  }

  /** Takes over what is known here and leaves the rest. @param {Record<string, any>} values */
  set(values) {
    for (const [name, value] of Object.entries(values)) {
      if (name in this.#defaults && (name !== 'seed' || Number.isSafeInteger(value))) this.#values[name] = value;
    }
    this.#showSampler();
    this.#showAll();
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
    if (this.seedMode === 'random') this.set({ seed: randomSeed() });
    if (this.seedMode === 'increment') this.set({ seed: this.#values.seed + 1 });
  }

  /** How clips are made, as the model recommends it; their seed and length stay. */
  #setRecommended() {
    const { seed, seconds } = this.#values;
    this.set({ ...this.#defaults, seed, seconds });
  }

  /** A control has another value. */
  #edit(key, value) {
    const before = this.#values;
    this.#values = withValue(this.#values, key, value);
    if (key.startsWith('sampler_options.') && isSame(value, this.#optionDefault(key)) && get(this.#defaults, key) === undefined) {
      this.#values = withValue(this.#values, key, undefined); // as good as not said
    }
    for (const [name, owner] of Object.entries(BELONGS_TO)) {
      if (owner === key) this.#values[name] = (value === this.#defaults[key] ? this.#defaults : this.#plain)[name];
    }
    if (before.sampler !== this.#values.sampler) this.#showSampler();
    this.#showAll();
  }

  #showAll() {
    for (const [key, show] of this.#shows) {
      const value = get(this.#values, key);
      show(value === undefined && key.startsWith('sampler_options.') ? this.#optionDefault(key) : value);
    }
    const changed = this.#changed();
    byId('recommended').disabled = changed.every(({ key }) => key === 'seconds');
    showChanged(changed, (key) => this.#resetKey(key));
    const source = this.#values.source;
    for (const field of document.querySelectorAll('#group-source .field')) /** @type {HTMLElement} */ (field).hidden = !source;
    setText(byId('help-select-sampler'), this.#schema?.samplers[this.#values.sampler] ?? '');
    setText(byId('help-select-schedule'), this.#schema?.schedules[this.#values.schedule] ?? '');
    this.#showCurve();
    this.dispatchEvent(new Event('change'));
  }

  #showCurve() {
    if (byId('more').open && byId('group-levels')?.open) this.#curve.show(this.#values);
  }

  /** Keys that differ from the model's, one by one where a value has parts. */
  #changed() {
    const keys = Object.keys(this.#defaults).filter((key) => !['seed', 'sampler_options', 'guidance'].includes(key));
    const parts = [...Object.keys(this.#plain.guidance ?? {}).map((name) => `guidance.${name}`),
      ...Object.keys({ ...this.#defaults.sampler_options, ...this.#values.sampler_options }).map((name) => `sampler_options.${name}`)];
    return [...keys, ...parts].map((key) => ({ key, value: this.#shown(this.#values, key), usual: this.#shown(this.#usualFor(key), key) }))
      .filter(({ value, usual }) => !isSame(value, usual));
  }

  /** What is usual for a key: the model's own, unless it belongs to another sampler or schedule than is chosen. */
  #usualFor(key) {
    const owner = BELONGS_TO[key.split('.')[0]];
    return owner && this.#values[owner] !== this.#defaults[owner] ? this.#plain : this.#defaults;
  }

  #shown(values, key) {
    const value = get(values, key);
    return value === undefined && key.startsWith('sampler_options.') ? this.#optionDefault(key) : value;
  }

  #resetKey(key) {
    if (key === 'source') {
      this.reset(Object.keys(WITHOUT_SOURCE));
      return;
    }
    this.#edit(key, get(this.#usualFor(key), key));
    byId('changed').querySelector('button')?.focus();
  }

  #optionDefault(key) {
    return this.#schema?.sampler_options[this.#values.sampler]?.find((field) => field.key === key)?.default;
  }

  /** The groups under "Everything", and in them a control for each key. */
  #makeGroups() {
    for (const key of this.#shows.keys()) if (!['seed', 'loop', 'controls', ...PARAMETERS.map(({ name }) => name)].includes(key)) this.#shows.delete(key);
    const fields = this.#schema.fields.filter((field) => !ELSEWHERE.has(field.key));
    const groups = GROUPS.map((group) => {
      const mine = fields.filter((field) => groupOf(field.key) === group.id);
      mine.sort((a, b) => group.keys.indexOf(a.key) - group.keys.indexOf(b.key));
      return { group, controls: mine.map((field) => this.#makeField(field)) };
    });
    const filled = groups.filter(({ controls }) => controls.length);
    byId('groups').replaceChildren(...filled.map(({ group, controls }) => this.#makeGroup(group, controls)));
    byId('field-noise')?.closest('.field')?.after(el('div', { id: 'sampler-options' }));
  }

  #makeGroup({ id, open }, controls) {
    const extra = { levels: this.#curve.element, source: byId('source-box') }[id];
    const group = /** @type {HTMLDetailsElement} */ (el('details', { class: 'group', id: `group-${id}`, open: remembered(`group-${id}`, open ?? false, isSwitch) },
      el('summary', {}, TITLES[id]), ...(id === 'source' ? [extra, ...controls] : [...controls, extra])));
    group.ontoggle = () => { remember(`group-${id}`, group.open); this.#showCurve(); };
    return group;
  }

  #makeField(field) {
    const { element, show } = makeControl(field, (value) => this.#edit(field.key, value));
    this.#shows.set(field.key, show);
    return element;
  }

  /** The options of the sampler that is chosen. */
  #showSampler() {
    for (const key of this.#shows.keys()) if (key.startsWith('sampler_options.')) this.#shows.delete(key);
    const fields = this.#schema?.sampler_options[this.#values.sampler] ?? [];
    byId('sampler-options')?.replaceChildren(...fields.map((field) => this.#makeField(field)), el('p', { class: 'field-error', id: 'error-sampler_options' }));
  }

  #initSeed() {
    const seed = byId('seed');
    seed.setAttribute('aria-describedby', 'error-seed');
    byId('seed-dice').append(icon('dice'));
    byId('seed-dice').onclick = () => this.set({ seed: randomSeed() });
    this.#shows.set('seed', (value) => { if (numberOf(seed) !== value) seed.value = String(value ?? ''); });
    seed.oninput = () => this.#edit('seed', numberOf(seed));
    for (const radio of document.querySelectorAll('input[name=seed-mode]')) radio.addEventListener('change', () => this.dispatchEvent(new Event('change')));
  }

  #makeParameter({ name, min, max, step }, limits = {}) {
    const { label, unit, hint } = TEXTS[name];
    const describedBy = `error-${name}`;
    const slider = el('input', { type: 'range', min, max, step, id: `slider-${name}`, 'aria-label': label, class: 'plain-range' });
    const number = el('input', { type: 'number', id: `number-${name}`, class: 'number', min: limits.ge ?? step, max: limits.le, step, 'aria-label': CONTROLS.number(label), 'aria-describedby': describedBy });
    slider.oninput = () => { number.value = slider.value; this.#edit(name, slider.valueAsNumber); };
    number.oninput = () => this.#edit(name, numberOf(number));
    this.#shows.set(name, (value) => {
      if (numberOf(number) !== value) number.value = Number.isFinite(value) ? short(value) : '';
      if (Number.isFinite(value)) slider.value = String(value);
      fillSlider(slider);
    });
    return el('div', { class: 'parameter', 'data-field': name },
      el('label', { for: `slider-${name}`, title: hint }, label), slider,
      el('span', { class: 'with-unit' }, number, el('span', { class: 'unit', 'aria-hidden': 'true' }, unit)),
      el('p', { class: 'field-error', id: describedBy }));
  }
}
