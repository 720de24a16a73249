/** What the browser remembers between visits. A blocked or damaged storage only means that nothing is remembered. */

const PREFIX = 'dual-diffusion.';

/** @param {any} value */
export const isSwitch = (value) => typeof value === 'boolean';
/** @param {any} value */
export const isShare = (value) => typeof value === 'number' && value >= 0 && value <= 1;
/** @param {any} value */
export const isRecord = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

/**
 * @template T
 * @param {string} name
 * @param {T} fallback
 * @param {(value: any) => boolean} fits whether what is stored can be used; other software may have written it
 * @returns {T}
 */
export function remembered(name, fallback, fits) {
  try {
    const value = JSON.parse(localStorage.getItem(PREFIX + name));
    return fits(value) ? value : fallback;
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {any} value */
export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // A full or forbidden storage is no reason to stop.
  }
}
