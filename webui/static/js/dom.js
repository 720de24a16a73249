/** Building and updating elements. Text from users and files enters the page through text nodes only. */

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] `class`, `onclick` and other handlers, `aria-…` and other attributes;
 *   undefined, null and false are left out
 * @param {...(Node|string|null|undefined)} children
 * @returns {HTMLElement}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * Makes the children of `parent` those of `items`, in order, keeping the elements (and with them the focus) of items
 * that stay.
 * @template T
 * @param {HTMLElement} parent
 * @param {T[]} items
 * @param {{key: (item: T) => string, create: (item: T) => HTMLElement, update: (element: HTMLElement, item: T) => void}} how
 */
export function reconcile(parent, items, { key, create, update }) {
  const old = new Map([...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = /** @type {HTMLElement|undefined} */ (old.get(name));
    old.delete(name);
    if (!element) {
      element = create(item);
      element.dataset.key = name;
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
    update(element, item);
  }
  for (const element of old.values()) element.remove();
}

const CONTROLS = ':is(a[href], button, input, select, textarea, summary, [tabindex="0"]):not(:disabled, [hidden])';
const nameOf = (control) => control.id || control.ariaLabel || control.textContent;

/**
 * What has the focus in `place`, as something that gives it, once `place` has other children, to the control of the
 * same name, or else to the one that stands where it stood, or else to `place` or what surrounds it.
 * @param {HTMLElement} place
 * @returns {() => void}
 */
export function keepFocus(place) {
  const active = /** @type {HTMLElement} */ (document.activeElement);
  if (!place.contains(active)) return () => {};
  const [name, index] = [nameOf(active), [...place.querySelectorAll(CONTROLS)].indexOf(active)];
  return () => {
    if (document.activeElement !== document.body) return; // somebody has gone on meanwhile
    const controls = /** @type {HTMLElement[]} */ ([...place.querySelectorAll(CONTROLS)]);
    const alike = controls.filter((control) => control === active || nameOf(control) === name);
    const distance = (control) => Math.abs(controls.indexOf(control) - index);
    const heir = alike.sort((a, b) => distance(a) - distance(b))[0] ?? controls[Math.min(Math.max(index, 0), controls.length - 1)];
    (heir ?? /** @type {HTMLElement} */ (place.closest('[tabindex]')))?.focus({ preventScroll: true });
  };
}

/** Replaces what is in a place without losing the focus. @param {HTMLElement} place @param {...(Node|string)} children */
export function refill(place, ...children) {
  const giveBack = keepFocus(place);
  place.replaceChildren(...children);
  giveBack();
}

/** The number in a field; null where there is none. @param {HTMLInputElement} input @returns {?number} */
export const numberOf = (input) => (Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null);

/** Colours a slider as far as it is set. @param {HTMLInputElement} slider */
export function fillSlider(slider) {
  const [min, max] = [Number(slider.min), Number(slider.max)];
  slider.style.setProperty('--fill', String((slider.valueAsNumber - min) / (max - min)));
}

/** Sets text only where it differs, so that screen readers and selections are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
