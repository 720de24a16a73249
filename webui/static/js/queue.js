/** What is forming and what waits. */

import { address } from './address.js';
import { fillMixBar } from './colours.js';
import { byId, el, reconcile, setText } from './dom.js';
import { Remaining } from './estimate.js';
import { titleOf } from './format.js';
import { icon } from './icons.js';
import { QUEUE as TEXT } from './texts.js';

const SHOWN = 3; // of the queue; more would push the history out of sight

export class QueueView {
  #remaining = new Remaining();
  #isOpen = false; // whether all that waits is shown
  #frame = 0;

  /** @param {import('./library.js').Library} library @param {{cancel: (id: string) => void, cancelAll: (ids: string[]) => void, predict: (request: any) => ?number}} actions */
  constructor(library, actions) {
    this.clips = library;
    this.actions = actions;
    // Many changes at once are drawn once.
    library.addEventListener('change', () => { this.#frame ||= requestAnimationFrame(() => this.render()); });
    library.addEventListener('progress', (event) => this.#progress(/** @type {CustomEvent} */ (event).detail));
    byId('cancel-all').onclick = () => actions.cancelAll(library.active().map((job) => job.id));
    byId('queue-more').onclick = () => {
      this.#isOpen = !this.#isOpen;
      this.render();
    };
  }

  render() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const all = this.clips.active();
    const jobs = this.#isOpen ? all : all.slice(0, SHOWN);
    byId('queue-section').hidden = jobs.length === 0;
    byId('cancel-all').hidden = all.length < 2;
    const more = byId('queue-more');
    more.hidden = all.length <= SHOWN;
    more.setAttribute('aria-expanded', String(this.#isOpen));
    setText(more, this.#isOpen ? TEXT.showFewer : TEXT.more(all.length - SHOWN));
    byId('queue').classList.toggle('open', this.#isOpen && all.length > SHOWN);
    const places = new Map(all.filter(({ status }) => status === 'queued').map(({ id }, place) => [id, place + 1]));
    reconcile(byId('queue'), jobs, {
      key: (job) => job.id,
      create: (job) => this.#create(job),
      update: (item, job) => this.#update(item, job, places.get(job.id)),
    });
  }

  /** Makes all items anew, such as in other colours. */
  repaint() {
    byId('queue').replaceChildren();
    this.render();
  }

  /** @param {import('./api.js').Job} job */
  #create(job) {
    const title = titleOf(job);
    const bar = el('div', { class: 'mix-bar thin' });
    fillMixBar(bar, job.request.games);
    return el('li', { class: 'forming' },
      el('div', { class: 'forming-picture', 'aria-hidden': 'true' }, el('img', { class: 'preview', alt: '', hidden: true })),
      el('div', { class: 'forming-body' },
        el('div', { class: 'forming-head' },
          el('strong', { class: 'forming-title' }, title),
          el('button', { type: 'button', class: 'icon-button cancel', 'aria-label': TEXT.cancel(title), title: TEXT.cancelHint, onclick: () => this.actions.cancel(job.id) }, icon('cancel'))),
        bar,
        el('progress', { max: 1, value: 0, 'aria-label': TEXT.progress(title) }),
        el('p', { class: 'forming-text' })));
  }

  #update(item, job, place) {
    item.classList.toggle('waiting', job.status === 'queued');
    if (job.status === 'queued') {
      const seconds = this.actions.predict(job.request);
      setText(item.querySelector('.forming-text'), TEXT.place(place, seconds));
      item.querySelector('progress').value = 0;
    } else {
      this.#show(item, job);
    }
  }

  #progress(job) {
    const item = byId('queue').querySelector(`[data-key="${CSS.escape(job.id)}"]`);
    if (item) this.#show(item, job);
  }

  #show(item, job) {
    item.querySelector('progress').value = job.progress;
    setText(item.querySelector('.forming-text'), TEXT.left(job.text ?? TEXT.starting, this.#remaining.of(job)));
    const image = item.querySelector('.preview');
    if (job.preview && image.dataset.source !== job.preview) {
      image.dataset.source = job.preview;
      // Decoded aside first: replacing the source directly would flicker.
      const next = new Image();
      next.onload = () => { image.src = next.src; image.hidden = false; };
      next.src = address(job.preview);
    }
  }
}
