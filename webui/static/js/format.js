/** Numbers and mixes as people read them. */

/** @param {number} seconds @returns {string} `1:05` */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/** @param {number} seconds @returns {string} `0 minutes 5 seconds`, for screen readers */
export function spokenClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const minutes = Math.floor(whole / 60);
  return `${minutes ? `${minutes} min ` : ''}${whole % 60} s`;
}

/** @param {number} seconds @returns {string} `about 12 s` */
export function roughly(seconds) {
  if (seconds < 1.5) return 'about 1 s';
  if (seconds < 90) return `about ${Math.round(seconds)} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}

/** @param {number} time seconds since 1970 @returns {string} `2 min ago` */
export function ago(time) {
  const seconds = Date.now() / 1000 - time;
  if (seconds < 45) return 'just now';
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(time * 1000).toLocaleDateString();
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
export const titleOf = (job) => job.title || mixName(job.request.games) || 'Untitled';

/** Up to three decimals, without trailing zeros; `?` where there is no number. */
export const short = (number) => (Number.isFinite(number) ? String(Math.round(number * 1000) / 1000) : '?');
