/** Presets: settings under a name, kept on the server. */

import { call } from '../api.js';
import { byId, el, keepFocus, reconcile, setText } from '../dom.js';
import { icon } from '../icons.js';
import { announce, notice } from '../notices.js';
import { PRESETS as TEXT, UNDO } from '../texts.js';

export class Presets {
  /** @type {{id: string, name: string, about: string, request: any, shipped: boolean}[]} */
  #presets = [];

  /** @param {import('../panel.js').Panel} panel */
  constructor(panel) {
    this.panel = panel;
    byId('preset-save').onclick = () => this.#save();
    byId('preset-name').onkeydown = (event) => {
      if (event.key !== 'Enter' || event.ctrlKey || event.metaKey) return;
      event.preventDefault(); // it would generate
      this.#save();
    };
    byId('preset-name').oninput = () => setText(byId('error-preset'), '');
  }

  /** Reads them from the server, where other pages change them, too. */
  async reload() {
    this.#presets = (await call('GET', '/api/presets')).presets;
    const giveBack = keepFocus(byId('preset-list'));
    reconcile(byId('preset-list'), this.#presets, {
      key: (preset) => `${preset.id} ${preset.name}`,
      create: (preset) => this.#makeRow(preset),
      update: () => {},
    });
    giveBack();
  }

  #makeRow({ id, name, about, shipped }) {
    const button = (kind, label, action) => el('button', { type: 'button', class: `icon-button ${kind}`, 'aria-label': `${label} ${name}`, title: label, onclick: action }, icon(kind));
    const own = shipped ? [] : [
      button('reuse', TEXT.overwrite, () => this.#overwrite(id)),
      button('rename', TEXT.rename, (event) => this.#rename(id, event.currentTarget.closest('li'))),
      button('bin', TEXT.remove, () => this.#delete(id)),
    ];
    return el('li', { class: 'preset' },
      el('button', { type: 'button', class: 'preset-name', onclick: () => this.#apply(id) }, el('span', { class: 'preset-title' }, name), about ? el('span', { class: 'hint' }, about) : null), ...own);
  }

  #get(id) {
    return this.#presets.find((preset) => preset.id === id);
  }

  async #try(work) {
    try {
      return await work();
    } catch (error) {
      notice(error.message);
      return undefined;
    }
  }

  #apply(id) {
    return this.#try(async () => {
      const preset = this.#get(id);
      const undo = await this.panel.applyPreset(preset.request);
      notice(TEXT.isSet(preset.name), { label: UNDO, action: undo });
    });
  }

  async #save() {
    const field = byId('preset-name');
    const name = field.value.trim();
    if (!name) {
      setText(byId('error-preset'), TEXT.unnamed);
      field.focus();
      return;
    }
    try {
      await call('POST', '/api/presets', { body: { name, request: this.panel.preset(byId('preset-mix').checked) } });
      field.value = '';
      setText(byId('error-preset'), '');
      announce(TEXT.saved(name));
      await this.reload();
    } catch (error) {
      setText(byId('error-preset'), error.message.replace(/^name: /, ''));
      field.focus();
    }
  }

  #overwrite(id) {
    return this.#try(async () => {
      const { name, request } = this.#get(id);
      await call('PATCH', `/api/presets/${id}`, { body: { request: this.panel.preset('games' in request) } });
      await this.reload();
      notice(TEXT.overwritten(name), { label: UNDO, action: () => this.#try(() => call('PATCH', `/api/presets/${id}`, { body: { request } })) });
    });
  }

  #rename(id, row) {
    const before = this.#get(id).name;
    const input = /** @type {HTMLInputElement} */ (el('input', { type: 'text', class: 'text-input', maxlength: 80, value: before, 'aria-label': TEXT.newName(before) }));
    let open = true;
    const close = async (keep) => {
      if (!open) return;
      open = false;
      const name = input.value.trim();
      const isLeft = document.activeElement !== input; // for another control, which has the focus then
      input.remove();
      row.querySelector('.preset-name').hidden = false;
      if (!isLeft) /** @type {HTMLElement} */ (row.querySelector('.rename')).focus();
      if (keep && name && name !== before) await this.#try(() => call('PATCH', `/api/presets/${id}`, { body: { name } }));
      await this.#try(() => this.reload());
    };
    input.onkeydown = (event) => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      event.preventDefault();
      event.stopPropagation();
      close(event.key === 'Enter');
    };
    input.onblur = () => close(true);
    row.querySelector('.preset-name').hidden = true;
    row.prepend(input);
    input.select();
  }

  #delete(id) {
    return this.#try(async () => {
      const { name } = await call('DELETE', `/api/presets/${id}`);
      await this.reload();
      notice(TEXT.deleted(name), { label: UNDO, action: () => this.#try(async () => { await call('POST', `/api/presets/${id}/restore`); await this.reload(); }) });
    });
  }
}
