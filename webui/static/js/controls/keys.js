/** Dotted keys of a request, such as `guidance.rescale`, and how they are called on the page. */

import { isRecord } from '../storage.js';
import { CONTROLS as TEXT, LABELS } from '../texts.js';

/** A source and what goes with it, as they are without one. */
export const WITHOUT_SOURCE = { source: null, inpaint: [], extend_before: 0, extend_after: 0 };

/** @param {string} key @returns {string} `Sigma max` */
export function labelOf(key) {
  const words = key.split('.').at(-1).replaceAll('_', ' ');
  return LABELS[key] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** @param {any} values @param {string} key @returns {any} undefined where there is none */
export function get(values, key) {
  return key.split('.').reduce((value, name) => (isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined), values);
}

/** The same values with another one at a key; an undefined one is left out. @param {any} values @param {string} key @param {any} value */
export function withValue(values, key, value) {
  const [name, ...rest] = key.split('.');
  const inner = rest.length ? withValue(isRecord(values?.[name]) ? values[name] : {}, rest.join('.'), value) : value;
  const { [name]: _, ...others } = values ?? {};
  return inner === undefined ? others : { ...others, [name]: inner };
}

/** Whether two values of a request are the same, whatever the order of their keys. @param {any} a @param {any} b */
export function isSame(a, b) {
  if (isRecord(a) && isRecord(b)) {
    const names = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...names].every((name) => isSame(a[name], b[name]));
  }
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A value in words, such as `0.28 to 5`. @param {any} value @returns {string} */
export function inWords(value) {
  if (value === null || value === undefined) return TEXT.asUsual;
  if (typeof value === 'boolean') return value ? TEXT.on : TEXT.off;
  if (typeof value === 'number') return String(Math.round(value * 1000) / 1000);
  if (Array.isArray(value)) return value.map((part) => (Array.isArray(part) ? part.join('–') : inWords(part))).join(value.some(Array.isArray) ? ', ' : ` ${TEXT.to} `) || TEXT.none;
  if (isRecord(value)) return Object.entries(value).map(([name, part]) => `${name} ${inWords(part)}`).join(', ') || TEXT.none;
  return String(value);
}
