/** What is forming and what waits. */

import { address } from './address.js';
import { fillMixBar } from './colours.js';
import { byId, el, reconcile, setText } from './dom.js';
import { Remaining } from './estimate.js';
import { roughly, titleOf } from './format.js';
import { icon } from './icons.js';

export class QueueView {
  #remaining = new Remaining();

  /** @param {import('./library.js').Library} library @param {{cancel: (id: string) => void, predict: (request: any) => ?number}} actions */
  constructor(library, actions) {
    this.library = library;
    this.actions = actions;
    library.addEventListener('change', () => this.render());
    library.addEventListener('progress', (event) => this.#progress(/** @type {CustomEvent} */ (event).detail));
    byId('cancel-all').onclick = () => library.active().reverse().forEach((job) => actions.cancel(job.id));
  }

  render() {
    const jobs = this.library.active();
    byId('queue-section').hidden = jobs.length === 0;
    byId('cancel-all').hidden = jobs.length < 2;
    reconcile(byId('queue'), jobs, {
      key: (job) => job.id,
      create: (job) => this.#create(job),
      update: (item, job) => this.#update(item, job, jobs.filter((other) => other.status === 'queued').indexOf(job) + 1),
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
          el('button', { type: 'button', class: 'icon-button cancel', 'aria-label': `Cancel ${title}`, title: 'Cancel (Esc)', onclick: () => this.actions.cancel(job.id) }, icon('cancel'))),
        bar,
        el('progress', { max: 1, value: 0, 'aria-label': `Progress of ${title}` }),
        el('p', { class: 'forming-text' })));
  }

  #update(item, job, place) {
    item.classList.toggle('waiting', job.status === 'queued');
    if (job.status === 'queued') {
      const seconds = this.actions.predict(job.request);
      setText(item.querySelector('.forming-text'), `${place === 1 ? 'next' : `number ${place}`} in the queue${seconds ? `, takes ${roughly(seconds)}` : ''}`);
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
    const left = this.#remaining.of(job);
    const rest = left === null ? '' : `, ${roughly(left)} left`;
    setText(item.querySelector('.forming-text'), `${job.text ?? 'starting'}${rest}`);
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
