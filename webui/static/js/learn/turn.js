/** Who has the device while a training is at work, and what one may do about it. */

import { call } from '../api.js';
import { el } from '../dom.js';
import { notice } from '../notices.js';
import { LEARN as TEXT, TURNS, turnSentence } from '../texts.js';

/** A line above both views; hidden while nothing is trained. */
export class TurnBanner {
  #shown = '';
  element = el('aside', { class: 'turn', id: 'turn', hidden: true, 'aria-label': TEXT.banner });

  /** @param {any} turn see /api/learn @param {?{name: string, label: string}} working the generator at work @param {() => void} changed */
  show(turn, working, changed) {
    const key = JSON.stringify([turn, working?.name, working?.label]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.element.hidden = !turn.training;
    const chosen = turn.seat === 'resting' ? 'wait' : turn.choice;
    const buttons = turn.options.map((option) => el('button', {
      type: 'button', class: 'chip', title: TURNS[option].text, 'aria-pressed': option === 'pause' ? undefined : String(option === chosen),
      onclick: () => choose(option, working?.name).then(changed),
    }, TURNS[option].label));
    const go = working ? [' ', el('a', { href: `#learn/${working.name}` }, working.label)] : [];
    this.element.replaceChildren(el('span', {}, turnSentence(turn), ...go), el('div', { class: 'turn-options', role: 'group', 'aria-label': TEXT.whatNow }, ...buttons));
  }
}

async function choose(option, name) {
  try {
    if (option === 'pause') await call('POST', `/api/learn/generators/${name}/pause`);
    else await call('POST', '/api/learn/turn', { body: { choice: option } });
  } catch (error) {
    notice(error.message);
  }
}
