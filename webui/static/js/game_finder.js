/** Finding one of many games: a field with a list, one stop of the Tab key for a thousand of them. */

import { byId, el } from './dom.js';
import { announce } from './notices.js';
import { MIXER as TEXT } from './texts.js';

const PAGE = 40; // names drawn at a time

export class GameFinder {
  /** @type {string[]} */
  #names = [];
  /** @type {string[]} */
  #found = [];
  #drawn = 0;
  #active = -1;

  /** @param {(name: string) => void} choose */
  constructor(choose) {
    this.choose = choose;
    this.input = /** @type {HTMLInputElement} */ (byId('mix-search'));
    this.list = byId('mix-options');
    this.input.oninput = () => this.#search();
    this.input.onfocus = () => this.#search();
    this.input.onblur = () => this.#close();
    this.input.onkeydown = (event) => this.#onKey(event);
    // Before the field loses the focus, which closes the list.
    this.list.onpointerdown = (event) => event.preventDefault();
    this.list.onclick = (event) => this.#take(/** @type {HTMLElement} */ (event.target).closest('[role=option]')?.dataset.name);
    this.list.onscroll = () => { if (this.list.scrollTop + this.list.clientHeight > this.list.scrollHeight - 200) this.#draw(); };
  }

  /** @param {string[]} names */
  setGames(names) {
    this.#names = names;
    this.input.value = '';
    this.input.placeholder = TEXT.addOne(names.length);
    this.#close();
  }

  #search() {
    const words = this.input.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    this.#found = this.#names.filter((name) => words.every((word) => name.toLocaleLowerCase().includes(word)));
    this.#drawn = 0;
    this.#active = -1;
    this.list.replaceChildren();
    this.#draw();
    this.list.hidden = false;
    this.list.scrollTop = 0;
    this.input.setAttribute('aria-expanded', 'true');
    this.input.removeAttribute('aria-activedescendant');
    if (!this.#found.length) this.list.replaceChildren(el('li', { class: 'no-option' }, TEXT.notFound));
  }

  #draw() {
    const next = this.#found.slice(this.#drawn, this.#drawn + PAGE);
    const total = String(this.#found.length);
    this.list.append(...next.map((name, index) => el('li', {
      role: 'option', id: `mix-option-${this.#drawn + index}`, 'data-name': name, 'aria-selected': 'false', 'aria-posinset': this.#drawn + index + 1, 'aria-setsize': total,
    }, name)));
    this.#drawn += next.length;
  }

  #onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) {
      event.preventDefault(); // it would generate
      const name = this.#found[Math.max(this.#active, 0)];
      if (!this.list.hidden && (this.#active >= 0 || this.input.value.trim())) this.#take(name);
    } else if (event.key === 'Escape' && (!this.list.hidden || this.input.value)) {
      event.preventDefault();
      event.stopPropagation(); // it would cancel a clip
      this.input.value = '';
      this.#close();
    } else if (event.key in steps) {
      event.preventDefault();
      if (this.list.hidden) this.#search();
      this.#move(steps[event.key]);
    }
  }

  #move(by) {
    if (!this.#found.length) return;
    this.list.children[this.#active]?.setAttribute('aria-selected', 'false');
    this.#active = Math.min(Math.max(this.#active + by, 0), this.#found.length - 1);
    while (this.#drawn <= this.#active) this.#draw();
    const option = this.list.children[this.#active];
    option.setAttribute('aria-selected', 'true');
    option.scrollIntoView({ block: 'nearest' });
    this.input.setAttribute('aria-activedescendant', option.id);
  }

  /** @param {?string|undefined} name */
  #take(name) {
    if (!name) return;
    this.input.value = '';
    this.#close();
    this.choose(name);
    announce(TEXT.added(name));
  }

  #close() {
    this.list.hidden = true;
    this.input.setAttribute('aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
  }
}
