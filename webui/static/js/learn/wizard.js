/** A new generator: its folder, its kind and its name, and off it goes. */

import { call } from '../api.js';
import { el } from '../dom.js';
import { notice } from '../notices.js';
import { FolderChooser } from './folders.js';
import { LEARN as TEXT } from '../texts.js';

/** A folder's name as the name of a generator. @param {string} name */
const nameFrom = (name) => name.normalize('NFKD').replace(/[^A-Za-z0-9_-]+/g, '-').replace(/^[-_]+|[-_]+$/g, '').slice(0, 40).replace(/[-_]+$/, '') || 'mine';

export class Wizard {
  #preset = null;
  #wasNamed = false;
  #kinds = el('div', { class: 'kinds', role: 'radiogroup', 'aria-labelledby': 'learn-kind' }, el('p', { class: 'soft busy' }, TEXT.predicting));
  #kindText = el('p', { class: 'soft' });
  #error = el('p', { class: 'field-error', role: 'alert' });

  /**
   * @param {{root: number, name: string}[]} roots
   * @param {(name: string) => void} onMade
   */
  constructor(roots, onMade) {
    this.onMade = onMade;
    this.name = /** @type {HTMLInputElement} */ (el('input', { class: 'title-input', id: 'learn-name', maxlength: '40', autocomplete: 'off', spellcheck: 'false' }));
    this.name.oninput = () => { this.#wasNamed = true; this.#update(); };
    this.button = /** @type {HTMLButtonElement} */ (el('button', { type: 'submit', class: 'generate', id: 'learn-prepare' }, TEXT.prepare));
    this.chooser = new FolderChooser(roots);
    this.chooser.addEventListener('change', () => this.#update());
    this.element = el('form', { class: 'wizard', novalidate: true, onsubmit: (event) => { event.preventDefault(); this.#make(); } },
      el('section', { class: 'learn-card' }, el('h2', {}, TEXT.chooseTitle), el('p', { class: 'soft' }, TEXT.chooseText), this.chooser.element),
      el('section', { class: 'learn-card' }, el('h2', { id: 'learn-kind' }, TEXT.kindTitle), this.#kindText, this.#kinds),
      el('section', { class: 'learn-card' }, el('h2', {}, el('label', { for: 'learn-name' }, TEXT.nameTitle)), this.name, this.#error, this.button));
    this.#update();
    this.#readPresets();
  }

  async #readPresets() {
    try {
      let found = await call('GET', '/api/learn/presets');
      while (found.status === 'running') {
        await new Promise((resolve) => { setTimeout(resolve, 1000); });
        found = await call('GET', '/api/learn/presets');
      }
      this.#kindText.textContent = TEXT.kindText(found);
      this.#kinds.replaceChildren(...found.presets.map((preset) => this.#kind(preset)));
    } catch (error) {
      const again = el('button', { type: 'button', class: 'chip', onclick: () => this.#readPresets() }, TEXT.again);
      this.#kinds.replaceChildren(el('p', { class: 'field-error' }, error.message), again);
    }
    this.#update();
  }

  #kind(preset) {
    const input = /** @type {HTMLInputElement} */ (el('input', { type: 'radio', name: 'learn-preset', value: preset.name, disabled: preset.problem !== null, checked: preset.suggested }));
    input.onchange = () => { this.#preset = preset.name; this.#update(); };
    if (preset.suggested) this.#preset = preset.name;
    const note = preset.problem ? TEXT.cannot(preset.problem) : TEXT.needs(preset.need);
    return el('label', { class: preset.problem ? 'kind impossible' : 'kind' }, input,
      el('span', { class: 'kind-title' }, preset.title, preset.suggested ? el('span', { class: 'badge' }, TEXT.suggested) : null),
      el('span', { class: 'kind-text' }, preset.description), el('span', { class: 'kind-note' }, note));
  }

  #update() {
    const { place, summary } = this.chooser;
    if (place && !this.#wasNamed) this.name.value = nameFrom(place.name);
    this.button.disabled = !(summary?.kept && this.#preset && this.name.value.trim());
  }

  async #make() {
    if (this.button.disabled) return;
    this.button.disabled = true;
    this.#error.textContent = '';
    const name = this.name.value.trim();
    const { root, path } = this.chooser.place;
    try {
      await call('POST', '/api/learn/generators', { body: { name, root, path, preset: this.#preset } });
      await call('POST', `/api/learn/generators/${name}/prepare`).catch((error) => notice(error.message)); // it is made, and is shown
      this.onMade(name);
    } catch (error) {
      this.#error.textContent = error.message;
      if (error.field === 'name') this.name.focus();
    } finally {
      this.#update();
    }
  }
}
