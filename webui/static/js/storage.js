/** What the browser remembers between visits. A blocked or damaged storage only means that nothing is remembered. */

const PREFIX = 'dual-diffusion.';

/** @template T @param {string} name @param {T} fallback @returns {T} */
export function remembered(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? fallback;
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
