/** What a generator is called, which can be changed, and its way into the bin. */

import { call } from '../api.js';
import { el, setText } from '../dom.js';
import { icon } from '../icons.js';
import { announce, notice } from '../notices.js';
import { LEARN as TEXT, UNDO } from '../texts.js';
import { editTitle } from '../title_editor.js';

const LONGEST = 80; // characters of a label
const WAY_BACK = 20; // seconds; later it stands in the bin, below the form for a new one

export class Heading extends EventTarget {
  #title = el('h2');
  #folder = el('span', { class: 'soft' });
  #rename = button('rename', TEXT.rename, () => this.#edit());

  /**
   * Says `change` when it is called otherwise, `remove`, `restore`, and `problem` (detail: a sentence, empty for none).
   * @param {{name: string, label: string}} generator
   */
  constructor(generator) {
    super();
    this.name = generator.name;
    this.element = el('div', { class: 'generator-head' }, this.#title, this.#rename, this.#folder, button('bin', TEXT.bin, () => this.#remove()));
    this.show(generator.label);
  }

  /** @param {string} label */
  show(label) {
    this.label = label;
    setText(this.#title, label);
    setText(this.#folder, label === this.name ? '' : TEXT.folderName(this.name));
  }

  #edit() {
    editTitle(this.#title, { label: TEXT.label, longest: LONGEST, back: this.#rename, keep: (label) => this.#ask('PATCH', { label }, 'change') });
  }

  async #remove() {
    if (!(await this.#ask('DELETE', undefined, 'remove'))) return;
    notice(TEXT.binned(this.label), { label: UNDO, action: () => this.#restore(), seconds: WAY_BACK });
  }

  async #restore() {
    try {
      const { label } = await call('POST', `/api/learn/generators/${this.name}/restore`);
      announce(TEXT.restored(label));
      this.#say('restore');
    } catch (error) {
      notice(error.message);
    }
  }

  /** Whether it was done. @param {string} method @param {any} body @param {string} event what is said then */
  async #ask(method, body, event) {
    this.#say('problem', '');
    try {
      const answer = await call(method, `/api/learn/generators/${this.name}`, { body });
      if (answer.label) this.show(answer.label);
      this.#say(event);
      return true;
    } catch (error) {
      this.#say('problem', error.message);
      return false;
    }
  }

  #say(event, detail = undefined) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}

function button(name, label, action) {
  return el('button', { type: 'button', class: `icon-button ${name}`, 'aria-label': label, title: label, onclick: action }, icon(name));
}
