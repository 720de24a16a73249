/** Which keys of a request stand together. A key that is named nowhere here stands under "Other". */

/** Keys with controls of their own elsewhere on the page. */
export const ELSEWHERE = new Set(['games', 'games_end', 'controls', 'seed', 'seconds', 'steps', 'cfg_scale', 'loop', 'sampler_options']);

export const GROUPS = [
  { id: 'sampler', keys: ['sampler', 'noise'], open: true },
  { id: 'levels', keys: ['schedule', 'sigma_max', 'sigma_min', 'sigma_end', 'rho'] },
  { id: 'guidance', keys: ['guidance.interval', 'guidance.rescale', 'guidance.projected_parallel', 'guidance.projected_threshold', 'guidance.projected_momentum', 'guidance.weak_ema', 'guidance.weak_scale', 'guidance.scales'] },
  { id: 'weights', keys: ['ema', 'precision', 'phase_iterations', 'window_seconds'] },
  { id: 'variation', keys: ['variation_seed', 'variation_strength'] },
  { id: 'source', keys: ['source.start', 'source.seconds', 'source.strength', 'inpaint', 'extend_before', 'extend_after'] },
  { id: 'other', keys: [] },
];

/** @param {string} key */
export const groupOf = (key) => GROUPS.find((group) => group.keys.includes(key))?.id ?? 'other';
