/** Turns a heading into a text field and back. */

import { el } from './dom.js';

/**
 * Enter, or leaving the field, keeps what was typed; Esc gives up. Nothing happens where the field is open already.
 * @param {HTMLElement} heading
 * @param {{label: string, longest: number, keep: (title: string) => void, back: HTMLElement}} how what the field is
 *   called, how many characters it takes, what is done with another title, and what has the focus afterwards
 */
export function editTitle(heading, { label, longest, keep, back }) {
  if (heading.hidden) return;
  const before = heading.textContent;
  const input = /** @type {HTMLInputElement} */ (el('input', { type: 'text', class: 'title-input', maxlength: longest, value: before, 'aria-label': label }));
  let open = true;
  const close = (keeps, stays) => {
    if (!open) return;
    open = false;
    const title = input.value.trim();
    input.remove();
    heading.hidden = false;
    if (keeps && title !== before) keep(title);
    if (stays) back.focus();
  };
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      close(event.key === 'Enter', true);
    }
  });
  input.addEventListener('blur', () => close(true, false)); // whoever left it knows where to
  heading.hidden = true;
  heading.after(input);
  input.select();
}
