/** Dotted keys of a request, such as `guidance.rescale`, and how they are called on the page. */

const LABELS = {
  cfg_scale: 'Guidance', ema: 'Weights', rho: 'Rho', seconds: 'Length', games_end: 'Mix at the end', sampler_options: 'Sampler options',
  phase_iterations: 'Phase recovery', 'guidance.projected_parallel': 'Louder part kept', 'guidance.projected_threshold': 'Largest difference',
  'guidance.projected_momentum': 'Momentum', 'guidance.weak_ema': 'Weaker weights', 'guidance.weak_scale': 'Autoguidance', 'guidance.scales': 'Scales by what is told',
  'source.start': 'Source from', 'source.seconds': 'Source length', 'source.strength': 'Source strength', inpaint: 'Make anew',
};

/** @param {string} key @returns {string} `Sigma max` */
export function labelOf(key) {
  const words = key.split('.').at(-1).replaceAll('_', ' ');
  return LABELS[key] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** @param {any} values @param {string} key @returns {any} undefined where there is none */
export function get(values, key) {
  return key.split('.').reduce((value, name) => (isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined), values);
}

/** The same values with another one at a key; an undefined one is left out. @param {any} values @param {string} key @param {any} value */
export function withValue(values, key, value) {
  const [name, ...rest] = key.split('.');
  const inner = rest.length ? withValue(isObject(values?.[name]) ? values[name] : {}, rest.join('.'), value) : value;
  const { [name]: _, ...others } = values ?? {};
  return inner === undefined ? others : { ...others, [name]: inner };
}

/** @param {any} value */
export const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

/** Whether two values of a request are the same, whatever the order of their keys. @param {any} a @param {any} b */
export function isSame(a, b) {
  if (isObject(a) && isObject(b)) {
    const names = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...names].every((name) => isSame(a[name], b[name]));
  }
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A value in words, such as `0.28 to 5`. @param {any} value @returns {string} */
export function inWords(value) {
  if (value === null || value === undefined) return 'as usual';
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'number') return String(Math.round(value * 1000) / 1000);
  if (Array.isArray(value)) return value.map((part) => (Array.isArray(part) ? part.join('–') : inWords(part))).join(value.some(Array.isArray) ? ', ' : ' to ') || 'none';
  if (isObject(value)) return Object.entries(value).map(([name, part]) => `${name} ${inWords(part)}`).join(', ') || 'none';
  return String(value);
}
