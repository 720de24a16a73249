/** A question before what cannot be undone. */

import { byId } from './dom.js';

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
