/** A question before what cannot be undone. */

import { byId } from './dom.js';

// What is typed in a dialog is for that alone: Esc closes it, and cancels no clip.
for (const id of ['confirm', 'note', 'models']) byId(id).addEventListener('keydown', (event) => event.stopPropagation());

/** @param {string} question @param {string} text @param {string} yes what the button says @returns {Promise<boolean>} */
export function confirmed(question, text, yes) {
  const dialog = byId('confirm');
  byId('confirm-heading').textContent = question;
  byId('confirm-text').textContent = text;
  byId('confirm-yes').textContent = yes;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
