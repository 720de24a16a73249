/** Two to four clips at the same place: the keys 1 to 4 go from one to another without a gap, at equal loudness. */

import { byId, el } from '../dom.js';
import { titleOf } from '../format.js';
import { icon } from '../icons.js';
import { notice } from '../notices.js';
import { loudnessOf } from '../sound/loudness.js';
import { COMPARE as TEXT, origin } from '../texts.js';

export const MOST = 4;

/**
 * Factors that bring sounds to the loudness of the quietest: none is raised, so that none clips.
 * @param {number[]} loudnesses in LUFS; -Infinity for silence
 */
export function equalGains(loudnesses) {
  const quietest = Math.min(...loudnesses.filter(Number.isFinite));
  return loudnesses.map((loudness) => (Number.isFinite(loudness) ? 10 ** ((quietest - loudness) / 20) : 1));
}

export class Compare {
  /** @type {import('../api.js').Job[]} */
  #jobs = [];
  /** In LUFS, by id. @type {Map<string, number>} */
  #loudness = new Map();
  #round = 0;

  /** @param {import('../player.js').Player} player @param {import('../library.js').Library} library */
  constructor(player, library) {
    Object.assign(this, { player, clips: library });
    player.addEventListener('state', () => this.#mark());
    library.addEventListener('change', () => this.#follow());
  }

  has(id) {
    return this.#jobs.some((job) => job.id === id);
  }

  /** Adds a clip, or takes it out. @param {import('../api.js').Job} job */
  toggle(job) {
    if (this.has(job.id)) this.set(this.#jobs.filter(({ id }) => id !== job.id));
    else if (this.#jobs.length === MOST) notice(TEXT.full);
    else this.set([...this.#jobs, job]);
  }

  /** Compares these clips, at most four. @param {import('../api.js').Job[]} jobs */
  async set(jobs) {
    this.#jobs = jobs.filter((job) => job.audio).slice(0, MOST);
    this.#round += 1;
    this.player.sounds.pinned = new Set(this.#jobs.map(({ id }) => id));
    this.#render();
    await this.#level(this.#round);
  }

  #end() {
    this.set([]);
    byId('dock-play').focus(); // the way out went with the comparison
  }

  /** Goes to the clip of this number, counted from 1. */
  choose(number) {
    const job = this.#jobs[number - 1];
    if (job) this.player.change(job);
  }

  /** Measures the decoded samples, and lowers what is louder than the quietest. */
  async #level(round) {
    const jobs = this.#jobs;
    if (jobs.length < 2) return this.player.setGains(new Map());
    try {
      for (const job of jobs) {
        const sound = await this.player.sounds.get(job);
        if (!this.#loudness.has(job.id)) this.#loudness.set(job.id, await loudnessOf(sound));
      }
    } catch {
      if (round === this.#round) notice(TEXT.unreadable);
      return undefined;
    }
    if (round !== this.#round) return undefined;
    const gains = equalGains(jobs.map(({ id }) => this.#loudness.get(id)));
    this.player.setGains(new Map(jobs.map(({ id }, i) => [id, gains[i]])));
    // In place: a button that is replaced while the mouse is down on it would not be clicked.
    for (const job of jobs) byId('compare').querySelector(`[data-id="${job.id}"]`)?.setAttribute('title', this.#lowered(job));
    return undefined;
  }

  /** Clips that went to the bin, or have another title now. */
  #follow() {
    const present = this.#jobs.map((job) => this.clips.get(job.id) ?? job);
    const left = present.filter((job) => !job.binned && job.audio);
    if (left.length !== this.#jobs.length) this.set(left);
    else if (left.some((job, i) => titleOf(job) !== titleOf(this.#jobs[i]))) {
      this.#jobs = left;
      this.#render();
    }
    this.#mark();
  }

  #render() {
    const box = byId('compare');
    box.hidden = this.#jobs.length === 0;
    box.replaceChildren(
      ...this.#jobs.map((job, i) => this.#chip(job, i + 1)),
      ...(this.#jobs.length < 2 ? [el('span', { class: 'compare-hint' }, TEXT.more)] : []),
      el('button', { type: 'button', class: 'icon-button', 'aria-label': TEXT.end, title: TEXT.end, onclick: () => this.#end() }, icon('cancel')),
    );
    if (this.#jobs.length && !this.player.job) this.player.load(this.#jobs[0]);
    this.#mark();
  }

  /** Versions of one clip have its title: what tells them apart is where they come from. */
  #nameOf(job) {
    const isAlone = this.#jobs.every((other) => other === job || titleOf(other) !== titleOf(job));
    return isAlone || !job.parent ? titleOf(job) : origin(job);
  }

  /** By how much a clip is lowered; empty until it is measured. */
  #lowered(job) {
    const gain = this.player.gains.get(job.id);
    return gain === undefined ? '' : TEXT.lowered(this.#loudness.get(job.id), 20 * Math.log10(gain));
  }

  #chip(job, number) {
    return el('button', { type: 'button', class: 'chip', 'data-id': job.id, title: this.#lowered(job), onclick: () => this.choose(number) },
      el('kbd', {}, String(number)), ' ', el('span', {}, this.#nameOf(job)));
  }

  #mark() {
    for (const chip of byId('compare').querySelectorAll('[data-id]')) {
      chip.setAttribute('aria-pressed', String(chip.dataset.id === this.player.job?.id));
    }
    for (const button of document.querySelectorAll('.card .compare')) {
      button.setAttribute('aria-pressed', String(this.has(/** @type {HTMLElement} */ (button).dataset.id)));
    }
  }
}
