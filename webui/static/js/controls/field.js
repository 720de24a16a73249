/** One control for one key of a request, drawn from what the server says of it. */

import { el, numberOf } from '../dom.js';
import { CONTROLS as TEXT } from '../texts.js';
import { labelOf } from './keys.js';

/**
 * @typedef {{key: string, kind: string, nullable: boolean, default: any, help: string, ge?: number, gt?: number,
 *   le?: number, lt?: number, choices?: string[], words?: string[], names?: string[]}} Field as webui/desk/request_schema.py has it
 * @typedef {{element: HTMLElement, show: (value: any) => void}} Control
 */

const SENTENCE = /^[A-Z]/;

/** @param {Field} field @param {(value: any) => void} changed @returns {Control} */
export function makeControl(field, changed) {
  const make = { choice, switch: toggle, range, regions, number, integer: number, numbers }[field.kind] ?? text;
  const id = idOf(field.key);
  const { input, show } = (field.words ? numberOrWord : make)(field, id, changed);
  const element = el('div', { class: `field kind-${field.kind}`, 'data-field': field.key },
    el('label', { for: id }, labelOf(field.key)), input,
    field.help ? el('p', { class: 'hint', id: `help-${id}` }, SENTENCE.test(field.help) ? field.help : field.help.charAt(0).toUpperCase() + field.help.slice(1)) : null,
    el('p', { class: 'field-error', id: `error-${field.key}` }));
  for (const part of element.querySelectorAll('input, select')) {
    part.setAttribute('aria-describedby', `${field.help ? `help-${id} ` : ''}error-${field.key}`);
  }
  return { element, show };
}

/** @param {string} key */
const idOf = (key) => ({ sampler: 'select-sampler', schedule: 'select-schedule' }[key] ?? `field-${key.replaceAll('.', '-')}`);

const asText = (value) => (Number.isFinite(value) ? String(value) : '');

function numberInput(field, properties) {
  return /** @type {HTMLInputElement} */ (el('input', {
    type: 'number', class: 'number', min: field.ge ?? field.gt, max: field.le ?? field.lt, step: field.kind === 'integer' ? 1 : 'any', ...properties,
  }));
}

/** Empty is null: as usual where that is allowed, and refused by the server with a sentence where it is not. */
function number(field, id, changed) {
  const input = numberInput(field, { id, placeholder: field.nullable ? TEXT.usual : field.default === null ? TEXT.noLimit : undefined });
  input.oninput = () => changed(input.value === '' && field.default === null && !field.nullable ? undefined : numberOf(input));
  return { input, show: (value) => { if (numberOf(input) !== (value ?? null)) input.value = asText(value); } };
}

/** A number, or a word that stands for one. */
function numberOrWord(field, id, changed) {
  const options = [['', TEXT.asUsual], ...field.words.map((word) => [word, TEXT.words[word] ?? word]), ['number', TEXT.aNumber]];
  const kind = /** @type {HTMLSelectElement} */ (el('select', { id }, ...options.map(([value, label]) => el('option', { value }, label))));
  const input = numberInput(field, { 'aria-label': TEXT.number(labelOf(field.key)) });
  const isNumber = () => kind.value === 'number';
  kind.onchange = () => {
    input.hidden = !isNumber();
    if (isNumber()) input.focus(); // and nothing is said until there is one
    changed(isNumber() ? numberOf(input) : kind.value || null);
  };
  input.oninput = () => changed(numberOf(input));
  const show = (value) => {
    if (field.words.includes(value)) kind.value = value;
    else if (value !== null && value !== undefined) kind.value = 'number';
    else if (!isNumber() || document.activeElement !== input) kind.value = '';
    input.hidden = !isNumber();
    if (isNumber() && numberOf(input) !== (value ?? null)) input.value = asText(value);
  };
  return { input: el('span', { class: 'pair' }, kind, input), show };
}

function choice(field, id, changed) {
  const usual = field.nullable ? [el('option', { value: '' }, TEXT.asUsual)] : [];
  const input = /** @type {HTMLSelectElement} */ (el('select', { id }, ...usual, ...(field.choices ?? []).map((name) => el('option', { value: name }, name))));
  input.onchange = () => changed(field.nullable && input.value === '' ? null : input.value);
  return { input, show: (value) => { input.value = value ?? ''; } };
}

function toggle(field, id, changed) {
  const input = /** @type {HTMLInputElement} */ (el('input', { type: 'checkbox', id }));
  input.onchange = () => changed(input.checked);
  return { input, show: (value) => { input.checked = value === true; } };
}

/** Two numbers; both empty is null. */
function range(field, id, changed) {
  const label = labelOf(field.key);
  const low = numberInput(field, { id, placeholder: TEXT.all, 'aria-label': TEXT.from(label) });
  const high = numberInput(field, { placeholder: TEXT.all, 'aria-label': TEXT.upTo(label) });
  const read = () => changed(low.value === '' && high.value === '' ? null : [numberOf(low), numberOf(high)]);
  low.oninput = read;
  high.oninput = read;
  const show = (value) => {
    for (const [input, part] of [[low, value?.[0]], [high, value?.[1]]]) if (numberOf(input) !== (part ?? null)) input.value = asText(part);
  };
  return { input: el('span', { class: 'pair' }, low, el('span', { class: 'unit' }, TEXT.to), high), show };
}

/** A number for each of some names; those that are empty are not said. */
function numbers(field, id, changed) {
  const inputs = new Map((field.names ?? []).map((name, index) => [name, numberInput(field, { id: index ? undefined : id, placeholder: TEXT.usual, 'aria-label': TEXT.part(labelOf(field.key), name) })]));
  const read = () => changed(Object.fromEntries([...inputs].filter(([, input]) => input.value !== '').map(([name, input]) => [name, numberOf(input)])));
  for (const input of inputs.values()) input.oninput = read;
  const show = (value) => {
    for (const [name, input] of inputs) if (numberOf(input) !== (value?.[name] ?? null)) input.value = asText(value?.[name]);
  };
  return { input: el('span', { class: 'numbers' }, ...[...inputs].map(([name, input]) => el('span', { class: 'with-unit' }, el('span', {}, name), input))), show };
}

/** Regions in seconds, such as `2-4, 6.5-8`. */
function regions(field, id, changed) {
  const input = /** @type {HTMLInputElement} */ (el('input', { type: 'text', id, class: 'text-input', placeholder: TEXT.suchAs, spellcheck: 'false' }));
  input.oninput = () => changed(input.value.split(/[,;]/).filter((part) => part.trim()).map((part) => part.split(/[-–]/).map((end) => (end.trim() === '' ? null : Number(end)))));
  const show = (value) => {
    if (document.activeElement !== input) input.value = (Array.isArray(value) ? value : []).filter(Array.isArray).map((region) => region.join('-')).join(', ');
  };
  return { input, show };
}

/** Texts, and what a later server may have that this page does not know: JSON where it is no text. */
function text(field, id, changed) {
  const input = /** @type {HTMLInputElement} */ (el('input', { type: 'text', id, class: 'text-input', placeholder: field.nullable ? TEXT.asUsual : undefined, spellcheck: 'false' }));
  const read = () => {
    if (input.value === '' && field.nullable) return null;
    if (field.kind === 'text') return input.value;
    try {
      return JSON.parse(input.value);
    } catch {
      return input.value;
    }
  };
  input.onchange = () => changed(read());
  return { input, show: (value) => { input.value = value === null || value === undefined ? '' : field.kind === 'text' ? String(value) : JSON.stringify(value); } };
}
