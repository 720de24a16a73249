/** The page's icons: 24 x 24 outlines. */

const PATHS = {
  play: 'M8 5.5v13l11-6.5z',
  pause: 'M8 5h3v14H8zM14 5h3v14h-3z',
  star: 'M12 3.6l2.6 5.3 5.8.8-4.2 4.1 1 5.8-5.2-2.7-5.2 2.7 1-5.8-4.2-4.1 5.8-.8z',
  download: 'M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 20h14',
  export: 'M5 12v7.5h14V12M12 15V4M8 7.5L12 3.5l4 4',
  reuse: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5',
  rename: 'M4 20l1-4L16.5 4.5l3 3L8 19z',
  note: 'M5.5 4.5h13v11l-4 4h-9zM18.5 15.5h-4v4M8.5 9h7M8.5 12.5h4',
  bin: 'M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 13h9l1-13M10 11v5.5M14 11v5.5',
  restore: 'M4.5 9.5h10a5 5 0 0 1 0 10H9M8.5 5.5l-4 4 4 4',
  retry: 'M19.5 12a7.5 7.5 0 1 1-2.4-5.5M19.5 3.5v4.5H15',
  edit: 'M3.5 12h2l2-6 3.5 13 3-10 2 5 1.5-2h3',
  compare: 'M12 3.5v17M4.5 8.5h5M4.5 12h5M4.5 15.5h5M14.5 8.5h5M14.5 12h5M14.5 15.5h5',
  cancel: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
  dice: 'M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01',
  volume: 'M4.5 9.5v5h3.5l4.5 4v-13l-4.5 4zM16 9a4.5 4.5 0 0 1 0 6M18.5 6.5a8 8 0 0 1 0 11',
};
const FILLED = new Set(['play', 'pause']);

/** @param {keyof typeof PATHS} name @returns {SVGSVGElement} */
export function icon(name) {
  // A template element's namespace is right for SVG without naming it.
  const template = document.createElement('template');
  template.innerHTML = '<svg viewBox="0 0 24 24" class="icon" aria-hidden="true" focusable="false"><path/></svg>';
  const svg = /** @type {SVGSVGElement} */ (template.content.firstElementChild);
  svg.classList.toggle('filled', FILLED.has(name));
  svg.firstElementChild.setAttribute('d', PATHS[name]);
  return svg;
}

/** Makes a button one that plays or pauses. @param {HTMLElement} button @param {boolean} isPlaying @param {string} label */
export function showPlay(button, isPlaying, label) {
  const state = isPlaying ? 'pause' : 'play';
  if (button.dataset.state !== state) {
    button.dataset.state = state;
    button.replaceChildren(icon(state));
  }
  if (button.getAttribute('aria-label') !== label) button.setAttribute('aria-label', label);
}
