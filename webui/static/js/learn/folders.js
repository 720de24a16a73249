/** Choosing a folder of music below the roots of the server, and hearing what it holds. */

import { call } from '../api.js';
import { el, refill } from '../dom.js';
import { announce } from '../notices.js';
import { summaryOf } from './summary.js';
import { LEARN as TEXT } from '../texts.js';

const ASK = 700; // ms between questions while the server looks into files

const query = (place) => `root=${place.root}&path=${encodeURIComponent(place.path)}`;

export class FolderChooser extends EventTarget {
  #roots;
  #list = el('div', { class: 'folders' });
  #result = el('div', { class: 'survey', 'aria-live': 'polite' });
  #error = el('p', { class: 'field-error', role: 'alert' });
  #asked = 0; // which question is the newest
  /** The folder that is open. @type {?{root: number, path: string, name: string}} */
  place = null;
  /** What it holds, once that is known. @type {?any} */
  summary = null;

  /** @param {{root: number, name: string}[]} roots */
  constructor(roots) {
    super();
    this.#roots = roots;
    this.element = el('div', {}, this.#list, this.#error, this.#result);
    this.open({ root: 0, path: '' });
  }

  /** @param {{root: number, path: string}} place */
  async open(place) {
    const asked = (this.#asked += 1);
    this.summary = null;
    this.#result.replaceChildren();
    try {
      const listing = await call('GET', `/api/learn/folders?${query(place)}`);
      if (asked !== this.#asked) return;
      this.#error.textContent = '';
      this.place = { root: listing.root, path: listing.path, name: listing.name };
      this.#show(listing);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#error.textContent = error.message;
    }
    this.dispatchEvent(new Event('change'));
  }

  #show(listing) {
    const go = (place) => (event) => { event.preventDefault(); this.open(place); };
    const parts = listing.path ? listing.path.split('/') : [];
    const root = this.#roots.find((each) => each.root === listing.root);
    const crumbs = [el('button', { type: 'button', class: 'crumb', onclick: go({ root: listing.root, path: '' }) }, root?.name ?? '/'),
      ...parts.map((part, number) => el('button', { type: 'button', class: 'crumb', onclick: go({ root: listing.root, path: parts.slice(0, number + 1).join('/') }) }, part))];
    crumbs.at(-1).setAttribute('aria-current', 'true');
    const others = this.#roots.filter((each) => each.root !== listing.root)
      .map((each) => el('button', { type: 'button', class: 'chip', onclick: go({ root: each.root, path: '' }) }, each.name));
    const folders = listing.folders.map((folder) => el('li', {},
      el('button', { type: 'button', class: 'folder', onclick: go({ root: listing.root, path: folder.path }) }, folder.name)));
    refill(this.#list,
      el('nav', { class: 'crumbs', 'aria-label': TEXT.folder }, ...crumbs, ...others),
      el('ul', { class: 'folder-list' }, ...(folders.length ? folders : [el('li', { class: 'soft' }, TEXT.noFolders)])),
      ...(listing.files ? [el('p', { class: 'soft' }, TEXT.filesHere(listing.files))] : []),
      el('button', { type: 'button', class: 'chip strong', id: 'learn-look', onclick: () => this.look() }, TEXT.look));
  }

  /** Asks what the folder holds, until the server knows. */
  async look() {
    const asked = (this.#asked += 1);
    const place = this.place;
    this.#result.replaceChildren(el('p', { class: 'soft busy' }, TEXT.looking));
    this.#error.textContent = '';
    try {
      let state = await call('POST', '/api/learn/surveys', { body: { root: place.root, path: place.path } });
      while (state.status === 'running') {
        await new Promise((resolve) => { setTimeout(resolve, ASK); });
        if (asked !== this.#asked) return;
        state = await call('GET', `/api/learn/surveys?${query(place)}`);
      }
      if (asked !== this.#asked) return;
      this.#result.replaceChildren();
      if (state.error) throw new Error(state.error);
      this.summary = state.result;
      this.#result.replaceChildren(summaryOf(state.result, TEXT.refused));
      announce(state.result.kept ? TEXT.found(state.result) : TEXT.nothing);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#result.replaceChildren();
      this.#error.textContent = error.message;
    }
    this.dispatchEvent(new Event('change'));
  }
}
