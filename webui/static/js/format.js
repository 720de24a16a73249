/** Numbers and mixes as people read them. */

/** @param {number} seconds @returns {string} `1:05` */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/**
 * A mix as shares of the sum of magnitudes, largest first.
 * @param {Record<string, number>} games
 * @returns {{name: string, share: number}[]}
 */
export function shares(games) {
  const entries = Object.entries(games).filter(([, weight]) => weight !== 0 && Number.isFinite(weight));
  const sum = entries.reduce((total, [, weight]) => total + Math.abs(weight), 0);
  return entries.map(([name, weight]) => ({ name, share: weight / sum })).sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
}

/** @param {Record<string, number>} games @returns {string} `Castle 70 · Cave 30` */
export function mixName(games) {
  const parts = shares(games);
  if (parts.length === 1 && parts[0].share > 0) return parts[0].name;
  const shown = parts.slice(0, 4).map(({ name, share }) => `${name} ${share < 0 ? '−' : ''}${Math.round(Math.abs(share) * 100)}`);
  return shown.join(' · ') + (parts.length > 4 ? ` +${parts.length - 4}` : '');
}

/** @param {import('./api.js').Job} job */
export const titleOf = (job) => job.title || mixName(job.request.games) || `#${job.request.seed ?? '…'}`;

/** @param {number} bytes @returns {string} `512 MiB` */
export function sizeText(bytes) {
  if (bytes < 2 ** 20) return `${Math.round(bytes / 2 ** 10)} KiB`;
  return bytes < 2 ** 29 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** Up to three decimals, without trailing zeros; `?` where there is no number. */
export const short = (number) => (Number.isFinite(number) ? String(Math.round(number * 1000) / 1000) : '?');
