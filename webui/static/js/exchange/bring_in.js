/** Bringing files in: dropped anywhere, or chosen. A clip of ours restores its settings, other audio becomes the source. */

import { call } from '../api.js';
import { byId } from '../dom.js';
import { announce, notice } from '../notices.js';
import { SOURCE as TEXT } from '../texts.js';

const PATIENCE = 300_000; // ms for a large file over a slow line
const MAX_FILE = 64 * 2 ** 20; // bytes, as webui/exchange/uploads.py has it

export class BringIn {
  #isBusy = false;
  #depth = 0;

  /** @param {import('../panel.js').Panel} panel */
  constructor(panel) {
    this.panel = panel;
    const chooser = byId('bring-in-file');
    byId('bring-in').onclick = () => chooser.click();
    chooser.onchange = () => { this.#take([...chooser.files]); chooser.value = ''; };
    addEventListener('dragenter', (event) => this.#over(event, 1));
    addEventListener('dragleave', (event) => this.#over(event, -1));
    addEventListener('dragover', (event) => { if (hasFiles(event)) event.preventDefault(); });
    addEventListener('drop', (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault(); // the browser would leave the page and play the file
      this.#depth = 0;
      byId('drop-hint').hidden = true;
      this.#take([...event.dataTransfer.files]);
    });
  }

  #over(event, by) {
    if (!hasFiles(event)) return;
    this.#depth = Math.max(0, this.#depth + by);
    byId('drop-hint').hidden = this.#depth === 0;
  }

  /** @param {File[]} files */
  async #take(files) {
    if (!files.length) return;
    if (files.length > 1) return notice(TEXT.one);
    if (this.#isBusy) return notice(TEXT.busy);
    const [file] = files;
    if (file.size > MAX_FILE) return notice(TEXT.tooLarge(file.name, MAX_FILE / 2 ** 20));
    this.#isBusy = true;
    byId('bring-in').setAttribute('aria-busy', 'true');
    announce(TEXT.reading(file.name));
    try {
      const upload = await call('POST', `/api/uploads?name=${encodeURIComponent(file.name.slice(-200))}`, { file, patience: PATIENCE });
      await this.#use(upload);
    } catch (error) {
      notice(error.message);
    } finally {
      this.#isBusy = false;
      byId('bring-in').removeAttribute('aria-busy');
    }
    return undefined;
  }

  async #use(upload) {
    const source = () => {
      this.panel.source.take(upload);
      notice(TEXT.taken(upload.name, upload.cut));
    };
    if (!upload.settings) return source();
    await this.panel.apply(upload.settings.request);
    return notice(TEXT.settings(upload.name), { label: TEXT.instead, action: source, seconds: 15 });
  }
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
