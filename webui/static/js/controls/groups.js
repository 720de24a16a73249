/** Which keys of a request stand together. A key that is named nowhere here stands under "Other". */

/** Keys with controls of their own elsewhere on the page. */
export const ELSEWHERE = new Set(['games', 'games_end', 'controls', 'seed', 'seconds', 'steps', 'cfg_scale', 'loop', 'sampler_options']);

export const GROUPS = [
  { id: 'sampler', title: 'Sampler', keys: ['sampler', 'noise'], open: true },
  { id: 'levels', title: 'Noise levels', keys: ['schedule', 'sigma_max', 'sigma_min', 'rho'] },
  { id: 'guidance', title: 'Guidance', keys: ['guidance.interval', 'guidance.rescale', 'guidance.projected_parallel', 'guidance.projected_threshold', 'guidance.projected_momentum', 'guidance.weak_ema', 'guidance.weak_scale', 'guidance.scales'] },
  { id: 'weights', title: 'Weights and arithmetic', keys: ['ema', 'precision', 'phase_iterations', 'window_seconds'] },
  { id: 'variation', title: 'Variation', keys: ['variation_seed', 'variation_strength'] },
  { id: 'source', title: 'Source', keys: ['source.start', 'source.seconds', 'source.strength', 'inpaint', 'extend_before', 'extend_after'] },
  { id: 'other', title: 'Other', keys: [] },
];

/** @param {string} key */
export const groupOf = (key) => GROUPS.find((group) => group.keys.includes(key))?.id ?? 'other';
