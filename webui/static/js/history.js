/** The history: a list of any length, of which the page holds the cards that are seen. */

import { createCard, createHole, showPlaying, showSelected, updateCard } from './card.js';
import { byId, el, keepFocus, reconcile } from './dom.js';
import { titleOf } from './format.js';
import { notice } from './notices.js';
import { Selection } from './selection.js';
import { HISTORY as TEXT } from './texts.js';

const MARGIN = 600; // px above and below the window for which cards are made, too
const LEAST_ROWS = 4; // that are drawn wherever the list lies
const TYPING = 200; // ms of rest until what is typed is searched for

export class HistoryView {
  #frame = 0;
  #typing = 0;

  /**
   * @param {import('./library.js').Library} library
   * @param {import('./player.js').Player} player
   * @param {import('./card.js').Actions} actions
   */
  constructor(library, player, actions) {
    Object.assign(this, { clips: library, player, actions });
    this.selection = new Selection(library, actions, () => this.render());
    const later = () => this.#later();
    library.addEventListener('change', later);
    addEventListener('scroll', later, { passive: true });
    new ResizeObserver(later).observe(byId('history').parentElement);
    for (const event of ['state', 'time']) player.addEventListener(event, () => this.#showPlaying());
    this.#initViews();
    this.#initSearch();
  }

  #initViews() {
    for (const button of document.querySelectorAll('.segmented [data-view]')) {
      button.addEventListener('click', () => this.show(/** @type {HTMLElement} */ (button).dataset.view));
    }
    byId('empty-bin').onclick = () => this.actions.emptyBin(this.clips.total);
    byId('import').onclick = () => this.actions.takeIn();
    byId('select').onclick = () => this.selection.toggle();
  }

  #initSearch() {
    const search = byId('history-search');
    search.addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#narrow({ search: search.value.trim() }), TYPING);
    });
    for (const field of ['game', 'model']) {
      const select = byId(`history-${field}`);
      select.onchange = () => this.#narrow({ [field]: select.value });
      // Read when they are about to be used: what there is changes with every clip.
      for (const event of ['pointerdown', 'focus']) select.addEventListener(event, () => this.#offer());
    }
    this.#offer();
  }

  async #offer() {
    const choices = await this.actions.choices();
    if (!choices) return;
    for (const [field, names, any] of [['game', choices.games, TEXT.allGames], ['model', choices.models, TEXT.allModels]]) {
      const select = byId(`history-${field}`);
      const wanted = ['', ...names];
      if (wanted.join('\n') !== [...select.options].map((option) => option.value).join('\n')) {
        const { value } = select;
        select.replaceChildren(...wanted.map((name) => el('option', { value: name }, name || any)));
        select.value = wanted.includes(value) ? value : '';
      }
      select.hidden = names.length < 2;
    }
  }

  #narrow(change) {
    this.selection.clear();
    return this.clips.show(change).catch((error) => notice(error.message));
  }

  /** @param {string} view */
  show(view) {
    this.selection.clear();
    return this.clips.show(view).catch((error) => notice(error.message));
  }

  /** Shows the part of the history in which a new clip appears. */
  showNew() {
    if (this.clips.view === 'all' && !this.clips.isNarrowed) return;
    clearTimeout(this.#typing);
    for (const field of ['search', 'game', 'model']) byId(`history-${field}`).value = '';
    this.#narrow({ view: 'all', search: '', game: '', model: '' });
  }

  /** Makes all cards anew, such as in other colours. */
  repaint() {
    byId('history').replaceChildren();
    this.#offer();
    this.render();
  }

  /** Many changes at once are drawn once; a page that nobody sees is drawn when it is seen. */
  #later() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.render());
  }

  render() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const list = byId('history');
    const { first, last, before, after } = this.#window(list);
    list.style.paddingTop = `${before}px`;
    list.style.paddingBottom = `${after}px`;
    const jobs = this.clips.between(first, last);
    const giveBack = keepFocus(list);
    const focused = /** @type {HTMLElement} */ (document.activeElement.closest('.card'))?.dataset.key.split(' ')[0];
    const items = Array.from({ length: last - first }, (_, place) => ({ index: first + place, job: jobs[place] }));
    reconcile(list, items, {
      // A card is made anew where its buttons change.
      key: ({ index, job }) => (job ? `${job.id} ${job.status} ${job.binned} ${job.missing} ${job.audio} ${job.peaks}` : `hole ${index}`),
      create: ({ job }) => (job ? createCard(job, this.actions, this.selection) : createHole()),
      update: (card, { index, job }) => {
        card.setAttribute('aria-setsize', String(this.clips.total));
        card.setAttribute('aria-posinset', String(index + 1));
        if (job) updateCard(card, job);
      },
    });
    // What was scrolled out of sight takes the focus along; what is gone, such as into the bin, leaves it to the next one.
    if (focused && (jobs.some((job) => job?.id === focused) || !this.clips.history().some((job) => job.id === focused))) giveBack();
    this.clips.see(first, last);
    this.#showState();
    this.#showPlaying();
  }

  /** Which items are in or near the window, and how high what is left out before and after them is. */
  #window(list) {
    const style = getComputedStyle(list);
    const columns = Math.max(1, style.gridTemplateColumns.split(' ').length);
    const height = parseFloat(style.gridAutoRows) + parseFloat(style.rowGap);
    const { total } = this.clips;
    const rows = Math.ceil(total / columns);
    if (!(height > 0)) return { first: 0, last: Math.min(total, 20), before: 0, after: 0 };
    const top = list.getBoundingClientRect().top;
    const begin = Math.min(Math.max(Math.floor((-top - MARGIN) / height), 0), rows);
    const end = Math.min(Math.max(Math.ceil((-top + innerHeight + MARGIN) / height), begin + LEAST_ROWS), rows);
    return { first: begin * columns, last: Math.min(end * columns, total), before: begin * height, after: (rows - end) * height };
  }

  #showState() {
    const { total, loaded, view, isNarrowed } = this.clips;
    for (const button of document.querySelectorAll('.segmented [data-view]')) {
      button.setAttribute('aria-pressed', String(/** @type {HTMLElement} */ (button).dataset.view === view));
    }
    const empty = byId('history-empty');
    const [headline, text] = isNarrowed ? TEXT.notFound : TEXT.empty[view];
    empty.hidden = total > 0 || !loaded || (view === 'all' && !isNarrowed && this.clips.active().length > 0);
    if (empty.firstElementChild?.textContent !== headline) empty.replaceChildren(el('strong', {}, headline), el('span', {}, text));
    byId('history-count').textContent = total ? TEXT.clips(total) : '';
    byId('empty-bin').hidden = view !== 'bin' || isNarrowed || total === 0;
    byId('import').hidden = view !== 'all' || isNarrowed;
    this.selection.show();
    for (const card of byId('history').children) showSelected(card, this.selection);
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
