/** The clips of a grid side by side: each forms in its place, and plays from there. */

import { address } from '../address.js';
import { call } from '../api.js';
import { labelOf } from '../controls/keys.js';
import { byId, el, setText } from '../dom.js';
import { showPlay } from '../icons.js';
import { GRID as TEXT, PLAYER } from '../texts.js';

export class ContactSheet {
  /** @type {any} */
  #sheet = null;
  /** @type {Map<string, HTMLElement>} */
  #cells = new Map();
  /** Clips that the history does not show. @type {Map<string, import('../api.js').Job>} */
  #others = new Map();

  /** @param {import('../library.js').Library} library @param {import('../player.js').Player} player */
  constructor(library, player) {
    Object.assign(this, { clips: library, player });
    byId('sheet-close').onclick = () => this.#close();
    for (const event of ['change', 'progress']) library.addEventListener(event, () => this.#update());
    player.addEventListener('state', () => this.#update());
  }

  /** @param {any} sheet as /api/grids has it */
  async show(sheet) {
    this.#sheet = sheet;
    this.#others.clear();
    const [rows, columns] = sheet.axes;
    setText(byId('sheet-heading'), TEXT.heading(sheet.axes.map((axis) => labelOf(axis.key)).join(' × ')));
    const named = (axis) => axis?.labels.map((label) => `${labelOf(axis.key)} ${label}`) ?? [''];
    const [lines, heads] = [named(rows), named(columns)];
    const head = columns ? el('thead', {}, el('tr', {}, el('td', {}), ...heads.map((name) => el('th', { scope: 'col' }, name)))) : null;
    const body = lines.map((line, row) => el('tr', {}, el('th', { scope: 'row' }, line),
      ...heads.map((name, column) => this.#makeCell(sheet.jobs[row * heads.length + column], [line, name].filter(Boolean).join(', ')))));
    byId('sheet-table').replaceChildren(el('table', {}, head, el('tbody', {}, ...body)));
    byId('sheet').hidden = false;
    byId('sheet').focus({ preventScroll: true });
    byId('sheet').scrollIntoView({ block: 'start' });
    await this.#read();
  }

  #close() {
    this.#sheet = null;
    this.#cells.clear();
    byId('sheet-table').replaceChildren();
    byId('sheet').hidden = true;
  }

  /** Jobs that are older than what the history has read. */
  async #read() {
    const { jobs } = this.#sheet;
    const missing = jobs.filter((id) => !this.clips.get(id));
    const answers = await Promise.allSettled(missing.map((id) => call('GET', `/api/jobs/${id}`)));
    for (const answer of answers) if (answer.status === 'fulfilled') this.#others.set(answer.value.id, answer.value);
    this.#update();
  }

  #job(id) {
    const told = this.clips.get(id);
    if (told) this.#others.set(id, told); // another view of the history may forget it
    return told ?? this.#others.get(id);
  }

  #makeCell(id, label) {
    const play = el('button', { type: 'button', class: 'play-button', hidden: true, onclick: () => this.#play(id) });
    const cell = el('td', { 'data-job': id, 'data-label': label },
      el('div', { class: 'sheet-picture' }, el('img', { alt: '', hidden: true }), play, el('p', { class: 'sheet-state' }, '…')),
      el('p', { class: 'sheet-label' }, label));
    this.#cells.set(id, cell);
    return cell;
  }

  #play(id) {
    const job = this.#job(id);
    if (!job?.audio) return;
    if (this.player.job?.id === id) this.player.toggle();
    else this.player.load(job, { play: true });
  }

  #update() {
    if (!this.#sheet) return;
    for (const id of this.#sheet.jobs) this.#draw(this.#cells.get(id), id, this.#job(id));
  }

  #draw(cell, id, job) {
    if (!cell) return;
    const done = job?.status === 'done' && job.audio;
    const states = { queued: TEXT.waits, running: `${Math.round((job?.progress ?? 0) * 100)} %`, done: job?.missing ? TEXT.gone : '' };
    setText(cell.querySelector('.sheet-state'), job ? states[job.status] ?? job.status : '…');
    const play = cell.querySelector('button');
    play.hidden = !done;
    const isPlaying = this.player.job?.id === id && this.player.isPlaying;
    showPlay(play, isPlaying, (isPlaying ? PLAYER.pause : PLAYER.play)(cell.dataset.label));
    const image = cell.querySelector('img');
    const source = done ? job.spectrogram : job?.preview;
    if (source && image.dataset.source !== source) {
      image.dataset.source = source;
      image.src = address(source);
      image.hidden = false;
    }
  }
}
