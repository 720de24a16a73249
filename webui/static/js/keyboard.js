/**
 * Shortcuts, and commas in numbers. Single keys never act while something is being typed or operated, and can be
 * switched off.
 */

import { byId } from './dom.js';
import { isSwitch, remember, remembered } from './storage.js';

const TYPING = 'input:not([type=range]), textarea';
const BUSY = `${TYPING}, select, button, a, summary, [contenteditable]`;

/**
 * A decimal comma in a number is a decimal point. Whether a browser takes one depends on its language, not on whoever
 * types: others drop the comma, so that "0,5" becomes 5, or read nothing.
 */
export function initDecimals() {
  document.addEventListener('beforeinput', (event) => {
    const target = /** @type {HTMLInputElement} */ (event.target);
    if (event.data !== ',' || target.type !== 'number') return;
    event.preventDefault();
    document.execCommand('insertText', false, '.');
  });
}

/**
 * @param {{generate: () => void, toggle: () => void, cancel: () => void, help: () => void,
 *   choose: (number: number) => void}} actions `choose` goes to one of the clips that are compared
 */
export function initKeyboard({ generate, toggle, cancel, help, choose }) {
  const box = byId('shortcuts');
  box.checked = remembered('shortcuts', true, isSwitch);
  box.onchange = () => remember('shortcuts', box.checked);
  // A button that was clicked would keep the focus, and Space would press it again instead of playing.
  document.addEventListener('click', (event) => {
    if (event.detail > 0) /** @type {HTMLElement} */ (event.target).closest('button')?.blur();
  });
  document.addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]')) return; // what is typed there is for that alone: Esc closes it, and cancels no clip
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!event.repeat) generate();
      return;
    }
    if (!box.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === 'Escape' && !target.matches(TYPING)) cancel();
    if (event.key === '?' && !target.matches(TYPING)) help();
    if (/^[1-4]$/.test(event.key) && !target.matches(`${TYPING}, select`)) choose(Number(event.key));
    if (event.key === ' ' && !target.matches(BUSY)) {
      event.preventDefault();
      if (!event.repeat) toggle();
    }
  });
}
