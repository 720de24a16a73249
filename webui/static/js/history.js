/** The history: cards, its three views, and paging. */

import { createCard, showPlaying, updateCard } from './card.js';
import { byId, el, reconcile } from './dom.js';
import { titleOf } from './format.js';
import { notice } from './notices.js';

const EMPTY = {
  all: ['Nothing here yet.', 'Set the faders to taste and press Generate: the clip forms here and stays in this list.'],
  starred: ['No stars yet.', 'Press the star of a clip that you like, and it is kept here too.'],
  bin: ['The bin is empty.', 'Deleted clips wait here until you take them out again.'],
};

export class HistoryView {
  /**
   * @param {import('./library.js').Library} library
   * @param {import('./player.js').Player} player
   * @param {import('./card.js').Actions} actions
   */
  constructor(library, player, actions) {
    Object.assign(this, { clips: library, player, actions });
    library.addEventListener('change', () => this.render());
    for (const event of ['state', 'time']) player.addEventListener(event, () => this.#showPlaying());
    byId('show-more').onclick = () => library.more().catch((error) => notice(error.message));
    for (const button of document.querySelectorAll('[data-view]')) {
      button.addEventListener('click', () => this.show(/** @type {HTMLElement} */ (button).dataset.view));
    }
  }

  show(view) {
    for (const button of document.querySelectorAll('[data-view]')) {
      button.setAttribute('aria-pressed', String(/** @type {HTMLElement} */ (button).dataset.view === view));
    }
    return this.clips.show(view).catch((error) => notice(error.message));
  }

  /** Makes all cards anew, such as in other colours. */
  repaint() {
    byId('history').replaceChildren();
    this.render();
  }

  render() {
    const jobs = this.clips.history();
    reconcile(byId('history'), jobs, {
      // A card is made anew where its buttons change.
      key: (job) => `${job.id} ${job.status} ${job.binned} ${job.missing}`,
      create: (job) => createCard(job, this.actions),
      update: updateCard,
    });
    const [headline, text] = EMPTY[this.clips.view];
    const empty = byId('history-empty');
    empty.hidden = jobs.length > 0 || !this.clips.loaded || (this.clips.view === 'all' && this.clips.active().length > 0);
    empty.replaceChildren(el('strong', {}, headline), el('span', {}, text));
    byId('show-more').hidden = !this.clips.hasMore;
    this.#showPlaying();
  }

  #showPlaying() {
    for (const card of byId('history').children) {
      const job = this.clips.get(card.dataset.key.split(' ')[0]);
      if (!job) continue;
      const { isPlaying, progress } = this.player;
      showPlaying(card, { isCurrent: this.player.job?.id === job.id, isPlaying, progress, title: titleOf(job) });
    }
  }
}
