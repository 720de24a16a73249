/** What differs from what the model recommends, each with a button that takes it back. */

import { byId, el, reconcile } from '../dom.js';
import { CONTROLS as TEXT } from '../texts.js';
import { inWords, labelOf } from './keys.js';

/**
 * @param {{key: string, value: any, usual: any}[]} changes
 * @param {(key: string) => void} reset
 */
export function showChanged(changes, reset) {
  byId('changed-box').hidden = changes.length === 0;
  reconcile(byId('changed'), changes, {
    key: ({ key }) => key,
    create: ({ key }) => el('li', {}, el('button', { type: 'button', class: 'chip changed', onclick: () => reset(key) },
      el('span', { class: 'changed-text' }), el('span', { class: 'changed-cross', 'aria-hidden': 'true' }, '×'))),
    update: (element, { key, value, usual }) => {
      const label = labelOf(key);
      const text = `${label} ${nameOf(value)}`;
      const button = element.querySelector('button');
      element.querySelector('.changed-text').textContent = text;
      button.title = TEXT.backTo(label, inWords(usual));
      button.setAttribute('aria-label', TEXT.backTo(text, inWords(usual)));
    },
  });
}

/** A source is shown by what it is called. */
const nameOf = (value) => (value && typeof value === 'object' && typeof value.label === 'string' ? value.label : inWords(value));
