/** Many clips of the history at once: which are chosen, and what is done with them. */

import { byId } from './dom.js';
import { announce, notice } from './notices.js';
import { HISTORY as TEXT } from './texts.js';

export class Selection {
  /** @type {Set<string>} */
  #ids = new Set();
  /** The item that was chosen last, from which Shift goes on. @type {?string} */
  #last = null;
  isOpen = false;

  /**
   * @param {import('./library.js').Library} library
   * @param {import('./card.js').Actions} actions
   * @param {() => void} changed draws the list
   */
  constructor(library, actions, changed) {
    Object.assign(this, { clips: library, actions, changed });
    const act = (action) => () => this.#act(action);
    byId('selected-star').onclick = act('star');
    byId('selected-unstar').onclick = act('unstar');
    byId('selected-bin').onclick = act('bin');
    byId('selected-restore').onclick = act('restore');
    byId('selected-delete').onclick = act('delete');
    byId('selected-download').onclick = () => this.actions.download([...this.#ids]);
    byId('selected-all').onclick = () => this.#all();
    byId('selected-none').onclick = () => this.toggle(false);
  }

  has(id) {
    return this.#ids.has(id);
  }

  /** Opens the choosing, or ends it. */
  toggle(open = !this.isOpen) {
    this.isOpen = open;
    this.clear();
    if (!open) byId('select').focus();
  }

  clear() {
    this.#ids.clear();
    this.#last = null;
    this.changed();
  }

  /** Chooses an item or not; with `range`, all from the one before. */
  set(id, isChosen, range) {
    const [from, to] = [this.#last ? this.clips.indexOf(this.#last) : -1, this.clips.indexOf(id)];
    const between = range && from >= 0 && to >= 0 ? this.clips.between(Math.min(from, to), Math.max(from, to) + 1) : [];
    for (const each of new Set([id, ...between.filter(Boolean).map((job) => job.id)])) {
      if (isChosen) this.#ids.add(each);
      else this.#ids.delete(each);
    }
    this.#last = id;
    this.changed();
  }

  async #all() {
    try {
      for (const id of await this.clips.ids()) this.#ids.add(id);
      this.changed();
      announce(TEXT.areSelected(this.#ids.size));
    } catch (error) {
      notice(error.message);
    }
  }

  async #act(action) {
    const ids = [...this.#ids];
    if (!ids.length || !(await this.actions.batch(ids, action))) return;
    if (action !== 'star' && action !== 'unstar') this.clear();
  }

  /** Shows the bar of what can be done. */
  show() {
    const count = this.#ids.size;
    const isBin = this.clips.view === 'bin';
    byId('selected').hidden = !this.isOpen;
    byId('history').classList.toggle('choosing', this.isOpen);
    byId('select').setAttribute('aria-pressed', String(this.isOpen));
    byId('select').hidden = this.clips.total === 0 && !this.isOpen;
    byId('selected-count').textContent = TEXT.selected(count);
    byId('selected-all').textContent = TEXT.selectAll(this.clips.total);
    for (const name of ['star', 'unstar', 'bin', 'download']) byId(`selected-${name}`).hidden = isBin;
    for (const name of ['restore', 'delete']) byId(`selected-${name}`).hidden = !isBin;
    for (const name of ['star', 'unstar', 'bin', 'download', 'restore', 'delete']) byId(`selected-${name}`).disabled = count === 0;
  }
}
