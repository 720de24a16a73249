/** What a folder or a dataset holds: the same table before and after. */

import { el } from '../dom.js';
import { LEARN as TEXT, hoursText } from '../texts.js';

/**
 * @param {any} summary games, hours and refusals; see dataset_processing/report
 * @param {(count: number) => string} refusedText
 */
export function summaryOf(summary, refusedText) {
  const rows = summary.games.map((game) => el('tr', {},
    el('th', { scope: 'row' }, game.game), el('td', {}, String(game.tracks)), el('td', {}, game.tracks ? hoursText(game.hours) : '–'),
    el('td', { class: game.refused ? 'warn' : '' }, game.refused ? String(game.refused) : '')));
  const table = el('div', { class: 'table-scroll', tabindex: '0', role: 'region', 'aria-label': TEXT.summary.label },
    el('table', { class: 'games' },
      el('thead', {}, el('tr', {}, ...TEXT.summary.heads.map((text) => el('th', { scope: 'col' }, text)))),
      el('tbody', {}, ...rows)));
  return el('div', { class: 'summary' },
    el('p', { class: 'total' }, summary.kept ? TEXT.found(summary) : TEXT.nothing),
    rows.length ? table : null,
    summary.refused ? refusals(summary, refusedText) : null,
    summary.not_audio ? el('p', { class: 'soft' }, TEXT.others(summary)) : null);
}

function refusals(summary, refusedText) {
  const reasons = Object.entries(summary.reasons).map(([reason, count]) => el('li', {}, `${count} × ${reason}`));
  const files = summary.refused_files.map(({ file, reason }) => el('li', {}, el('span', { class: 'file' }, file), ` ${reason}`));
  return el('details', { class: 'refusals' },
    el('summary', {}, refusedText(summary.refused)), el('ul', { class: 'reasons' }, ...reasons), el('ul', { class: 'files' }, ...files));
}
