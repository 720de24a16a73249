/** What the page knows of the jobs: read from the server, kept up to date by its events, never the only copy. */

import { call } from './api.js';

const PAGE = 30;
const ACTIVE = new Set(['queued', 'running']);

/** @param {import('./api.js').Job} job */
export const isActive = (job) => ACTIVE.has(job.status);

export class Library extends EventTarget {
  /** @type {Map<string, import('./api.js').Job>} */
  #jobs = new Map();
  /** When each job was last told of, counted in tellings. @type {Map<string, number>} */
  #told = new Map();
  #clock = 0;
  view = 'all';
  hasMore = false;
  loaded = false;

  /** Reads everything anew, as many pages as were shown, and tells what has changed as events would have told it. */
  async reload() {
    const { view } = this;
    const began = this.#clock;
    const wanted = Math.min(Math.max(PAGE, this.history().length), 200);
    const [active, finished] = await Promise.all([
      call('GET', '/api/jobs?view=active'),
      call('GET', `/api/jobs?view=${view}&limit=${wanted}`),
    ]);
    const read = new Map([...active.jobs, ...finished.jobs].map((job) => [job.id, job]));
    for (const job of await this.#ended(read)) read.set(job.id, job);
    if (view !== this.view) return; // which reads for itself
    const before = this.#jobs;
    // What was told while these answers were on their way is newer than they are.
    const told = [...before].filter(([id]) => (this.#told.get(id) ?? 0) > began);
    this.#jobs = new Map([...read, ...told]);
    this.hasMore = finished.jobs.length === wanted;
    this.loaded = true;
    this.#changed();
    for (const [id, job] of this.#jobs) this.#tellStatus(job, before.get(id));
  }

  /** Jobs that were active and are in neither list: ended, and not in the present view. */
  async #ended(read) {
    const gone = this.active().filter((job) => !read.has(job.id));
    const answers = await Promise.allSettled(gone.map((job) => call('GET', `/api/jobs/${job.id}`)));
    return answers.filter(({ status }) => status === 'fulfilled').map((/** @type {any} */ answer) => answer.value);
  }

  async more() {
    const last = this.history().at(-1);
    const before = last ? `&before=${last.position}` : '';
    const { jobs } = await call('GET', `/api/jobs?view=${this.view}&limit=${PAGE}${before}`);
    for (const job of jobs) this.#jobs.set(job.id, job);
    this.hasMore = jobs.length === PAGE;
    this.#changed();
  }

  /** @param {string} view `all`, `starred` or `bin` */
  async show(view) {
    this.view = view;
    this.#jobs = new Map([...this.#jobs].filter(([, job]) => isActive(job)));
    await this.reload();
  }

  /** Running first, then waiting ones in order. */
  active() {
    return [...this.#jobs.values()].filter(isActive).sort((a, b) => a.position - b.position);
  }

  /** What the present view shows, newest first. */
  history() {
    const fits = {
      all: (job) => !job.binned,
      starred: (job) => !job.binned && job.starred,
      bin: (job) => job.binned,
    }[this.view];
    return [...this.#jobs.values()].filter((job) => !isActive(job) && fits(job)).sort((a, b) => b.position - a.position);
  }

  /** @param {string} id */
  get(id) {
    return this.#jobs.get(id);
  }

  /** @param {import('./api.js').Job} job */
  put(job) {
    const before = this.#jobs.get(job.id);
    this.#jobs.set(job.id, job);
    this.#told.set(job.id, ++this.#clock);
    this.#changed();
    this.#tellStatus(job, before);
  }

  #tellStatus(job, before) {
    if (before && before.status !== job.status) {
      this.dispatchEvent(new CustomEvent('status', { detail: { job, before: before.status } }));
    }
  }

  /** Takes one event of the server's socket. */
  take(event) {
    if (event.type === 'job') this.put(event.job);
    if (event.type !== 'progress' && event.type !== 'preview') return;
    const job = this.#jobs.get(event.id);
    if (!job) return;
    const { type, id, ...news } = event;
    Object.assign(job, news);
    this.#told.set(id, ++this.#clock);
    this.dispatchEvent(new CustomEvent('progress', { detail: job }));
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
