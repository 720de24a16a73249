/** A model's card: as much of Markdown as cards have, made of text nodes, so that nothing in it can act. */

import { el } from '../dom.js';

const RULE = /^\s*\|?[\s:|-]+\|[\s:|-]*$/;
const ITEM = /^\s*(?:[-*+]|\d+[.)])\s+/;

/** Emphasis, code and links (as their text) of one line. @param {string} text @returns {(Node|string)[]} */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*|\[[^\]]+\]\([^)]*\))/).map((part) => {
    if (/^`.+`$/.test(part)) return el('code', {}, part.slice(1, -1));
    if (/^\*\*.+\*\*$/.test(part)) return el('strong', {}, part.slice(2, -2));
    if (/^\*.+\*$/.test(part)) return el('em', {}, part.slice(1, -1));
    return part.replace(/^\[([^\]]+)\]\([^)]*\)$/, '$1');
  });
}

const cells = (line) => line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());

function table(lines) {
  const [head, , ...rows] = lines;
  const row = (tag, line) => el('tr', {}, ...cells(line).map((cell) => el(tag, {}, ...inline(cell))));
  return el('table', {}, el('thead', {}, row('th', head)), el('tbody', {}, ...rows.map((line) => row('td', line))));
}

/** Consecutive lines of one kind. */
function blocks(text) {
  const found = [];
  let fence = false;
  for (const line of text.split('\n')) {
    const isFence = /^\s*```/.test(line);
    const kind = fence || isFence ? 'code' : !line.trim() ? 'gap' : /^#{1,6} /.test(line) ? 'heading' : /^\s*\|/.test(line) ? 'table' : ITEM.test(line) ? 'list' : 'text';
    if (isFence) fence = !fence;
    const last = found.at(-1);
    if (kind === 'text' && last?.kind === 'list') last.lines[last.lines.length - 1] += ` ${line.trim()}`;
    else if (last?.kind === kind && kind !== 'heading') last.lines.push(line);
    else found.push({ kind, lines: [line] });
  }
  return found.filter(({ kind }) => kind !== 'gap');
}

/** @param {string} text @returns {HTMLElement[]} */
export function markdown(text) {
  return blocks(text).map(({ kind, lines }) => {
    if (kind === 'code') return el('pre', {}, el('code', {}, lines.filter((line) => !/^\s*```/.test(line)).join('\n')));
    // Below the headings of the page.
    if (kind === 'heading') return el('h4', {}, ...inline(lines[0].replace(/^#+\s+/, '')));
    if (kind === 'table' && lines.length > 1 && RULE.test(lines[1])) return table(lines);
    if (kind === 'list') return el('ul', {}, ...lines.map((line) => el('li', {}, ...inline(line.replace(ITEM, '')))));
    return el('p', {}, ...inline(lines.join(' ')));
  });
}
