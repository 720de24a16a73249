/** One colour per game, everywhere on the page: hues a golden angle apart, so that neighbours differ most. */

import { el } from './dom.js';
import { shares } from './format.js';

/** @type {Map<string, number>} */
const hues = new Map();

/** @param {import('./api.js').Game[]} games */
export function setGames(games) {
  hues.clear();
  for (const game of games) hues.set(game.name, (35 + game.id * 137.508) % 360);
}

/** Whether the model that plays knows games: without, nothing is mixed. */
export const hasGames = () => hues.size > 0;

/** Gives an element the hue of a game, for the style sheet's `--hue`. */
export function colour(element, game) {
  element.style.setProperty('--hue', String(hues.get(game) ?? 0));
  element.classList.toggle('unknown-game', !hues.has(game));
  return element;
}

/** Fills a bar with one stretch per game; games pushed away from are hatched. */
export function fillMixBar(bar, games) {
  bar.replaceChildren(
    ...shares(games).map(({ name, share }) => {
      const part = colour(el('span', { class: share < 0 ? 'part away' : 'part', title: name }), name);
      part.style.setProperty('flex-grow', String(Math.abs(share)));
      return part;
    }),
  );
}
