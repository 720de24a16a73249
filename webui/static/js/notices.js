/** Telling people things: the polite live region, notices with an undo, and errors beside their field. */

import { byId, el } from './dom.js';
import { offered } from './texts.js';

/** Says a sentence to screen readers. */
export function announce(sentence) {
  byId('live').textContent = sentence;
}

/**
 * Shows a notice for some seconds; it stays while it has focus or the pointer.
 * @param {string} text
 * @param {{label?: string, action?: () => void, seconds?: number}} [options]
 */
export function notice(text, { label, action, seconds = 8 } = {}) {
  const box = el('div', { class: 'toast' }, el('span', {}, text));
  const close = () => {
    const hadFocus = box.contains(document.activeElement);
    box.remove();
    if (hadFocus) byId(byId('desk').hidden ? 'learn' : 'stage').focus({ preventScroll: true });
  };
  if (label) box.append(el('button', { type: 'button', class: 'chip', onclick: () => { close(); action(); } }, label));
  byId('toasts').append(box);
  announce(label ? offered(text, label) : text);
  const later = () => setTimeout(() => (box.matches(':hover, :focus-within') ? later() : close()), seconds * 1000);
  later();
}

/** Shows an error of the server beside the field that it names, or else above the Generate button. */
export function showFieldError(error) {
  const field = (error.field ?? '').split('.')[0];
  const place = byId(`error-${error.field}`) ?? byId(`error-${field}`) ?? byId('error-general');
  const prefix = `${error.field}: `;
  const text = error.message.startsWith(prefix) && place.id !== 'error-general' ? error.message.slice(prefix.length) : error.message;
  place.textContent = text.charAt(0).toUpperCase() + text.slice(1);
  const holder = place.closest('[data-field]');
  const input = holder?.querySelector('input:not([type=search]):not([type=radio]), select');
  holder?.classList.add('invalid');
  for (let closed = place.closest('details'); closed; closed = closed.parentElement.closest('details')) closed.open = true;
  if (input && !field.startsWith('games')) {
    for (const control of holder.querySelectorAll('input[type=number], select')) control.setAttribute('aria-invalid', 'true');
    holder.querySelector('input[type=number], select')?.focus();
  }
  place.scrollIntoView({ block: 'nearest' }); // an error of the mix may be far above the button that was pressed
  announce(error.message);
}

/** Of the instrument; other parts of the page tell and clear their own. */
export function clearFieldErrors() {
  const instrument = byId('instrument');
  for (const place of instrument.querySelectorAll('.field-error:not(#error-preset)')) place.textContent = '';
  for (const holder of instrument.querySelectorAll('.invalid')) holder.classList.remove('invalid');
  for (const control of instrument.querySelectorAll('[aria-invalid]')) control.removeAttribute('aria-invalid');
}
