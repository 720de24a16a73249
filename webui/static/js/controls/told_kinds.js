/**
 * Rows for what a model may be told beside games that is not one number: names that are mixed, and curves along the
 * clip. A number's row is in told.js; all of them have a mode, and give undefined where all is as usual, and null
 * where the model shall be told nothing.
 */

import { el } from '../dom.js';
import { CONTROLS as TEXT } from '../texts.js';

const POINTS = 5;

/** How finely a number between two others is set. @param {number} low @param {number} high */
export const stepOf = (low, high) => (high - low > 20 ? 1 : 10 ** Math.floor(Math.log10((high - low) / 50)));

/** Whether something is as usual, set or free. @returns {HTMLSelectElement} */
export function makeModes(id, label, title) {
  const options = Object.entries(TEXT.modes).map(([value, text]) => el('option', { value }, text));
  return /** @type {HTMLSelectElement} */ (el('select', { id: `control-mode-${id}`, 'aria-label': TEXT.mode(label), title }, ...options));
}

/** A row with its `id`, `element`, `value()` and `show(value)`; null for what has no place on a page. */
export function makeToldRow(control, onChange) {
  if (control.kind === 'mix') return withMode(control, chooseNames(control), onChange);
  if (control.kind === 'curve') return withMode(control, drawCurve(control), onChange);
  return null;
}

/** A part, which has `element`, `value()`, `set(value)` and `oninput`, beside a choice whether it counts. */
function withMode({ id, label, unit = '' }, part, onChange) {
  const select = makeModes(id, label, TEXT.otherHint);
  const element = el('div', { class: 'parameter control told' }, el('span', { title: TEXT.otherHint }, label, ' ', el('span', { class: 'unit' }, unit)), select, part.element);
  const mode = (name) => { select.value = name; element.dataset.mode = name; };
  select.onchange = () => { mode(select.value); onChange(); };
  part.element.addEventListener('input', () => { mode('set'); onChange(); });
  const show = (value) => {
    mode(value === undefined ? 'usual' : value === null ? 'free' : 'set');
    if (value !== undefined && value !== null) part.set(value);
  };
  mode('usual');
  const values = { usual: () => undefined, free: () => null, set: part.value };
  return { id, element, show, value: () => values[select.value]() };
}

/** A list of names, of which several may be chosen; those of a clip keep its weights. */
function chooseNames({ id, label, names }) {
  let weights = {};
  const list = /** @type {HTMLSelectElement} */ (el('select', { id: `control-${id}`, multiple: '', size: 3, 'aria-label': label, 'aria-describedby': 'error-controls' }, ...names.map((name) => el('option', { value: name }, name))));
  const set = (value) => {
    weights = typeof value === 'string' ? { [value]: 1 } : { ...value };
    for (const option of list.options) option.selected = Boolean(weights[option.value]);
  };
  const value = () => Object.fromEntries([...list.selectedOptions].map(({ value: name }) => [name, weights[name] || 1]));
  return { element: list, set, value };
}

/** Sliders side by side, evenly spaced along the clip. */
function drawCurve({ id, label, low, high }) {
  /** What a clip asked for, until it is changed here. */
  let kept = null;
  const sliders = Array.from({ length: POINTS }, (_, k) => /** @type {HTMLInputElement} */ (el('input', { type: 'range', min: low, max: high, step: stepOf(low, high), id: `control-${id}-${k}`, 'aria-label': TEXT.point(label, k + 1, POINTS), 'aria-describedby': 'error-controls' })));
  for (const slider of sliders) slider.value = String((low + high) / 2);
  const element = el('div', { class: 'points' }, ...sliders);
  element.addEventListener('input', () => { kept = null; });
  const set = (value) => {
    kept = value;
    const points = Array.isArray(value) ? value : [value];
    sliders.forEach((slider, k) => { slider.value = String(at(points, k / (POINTS - 1))); });
  };
  return { element, set, value: () => kept ?? sliders.map((slider) => slider.valueAsNumber) };
}

/** The value of evenly spaced points at a share of their way. @param {number[]} points @param {number} share */
function at(points, share) {
  const place = share * (points.length - 1);
  const below = Math.min(Math.floor(place), points.length - 1);
  return points[below] + (points[Math.min(below + 1, points.length - 1)] - points[below]) * (place - below);
}
