/** The generators that were removed: each can be brought back, until the bin is emptied. */

import { call } from '../api.js';
import { confirmed } from '../confirm.js';
import { el } from '../dom.js';
import { announce, notice } from '../notices.js';
import { LEARN as TEXT, ago } from '../texts.js';

export class Bin {
  #list = el('ul', { class: 'bin-list' });

  /** @param {(name: string) => void} onRestored */
  constructor(onRestored) {
    this.onRestored = onRestored;
    this.element = el('section', { class: 'learn-card bin-card', hidden: true },
      el('h2', {}, TEXT.removed), el('p', { class: 'soft' }, TEXT.removedText), this.#list,
      el('button', { type: 'button', class: 'chip', onclick: () => this.#empty() }, TEXT.emptyBin));
  }

  /** Reads what lies in it. */
  async refresh() {
    const { removed } = await call('GET', '/api/learn/bin');
    this.#show(removed);
  }

  #show(removed) {
    this.element.hidden = !removed.length;
    this.#list.replaceChildren(...removed.map(({ name, label, removed: when }) => el('li', {},
      el('span', { class: 'bin-name' }, label), el('span', { class: 'soft' }, ago(when)),
      el('button', { type: 'button', class: 'chip', 'aria-label': TEXT.bringBackOf(label), onclick: () => this.#restore(name) }, TEXT.bringBack))));
  }

  async #restore(name) {
    try {
      const { label } = await call('POST', `/api/learn/generators/${name}/restore`);
      announce(TEXT.restored(label));
      this.onRestored(name);
    } catch (error) {
      notice(error.message);
    }
  }

  async #empty() {
    if (!(await confirmed(TEXT.emptyBinQuestion, TEXT.emptyBinText, TEXT.emptyBin))) return;
    try {
      this.#show((await call('DELETE', '/api/learn/bin', { patience: 600_000 })).removed);
      announce(TEXT.emptied);
    } catch (error) {
      notice(error.message);
    }
  }
}
