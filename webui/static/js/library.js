/**
 * What the page knows of the jobs: read from the server, kept up to date by its events, never the only copy. Of the
 * history it knows how long the list is, and of its items those that were looked at.
 */

import { call } from './api.js';

const PAGE = 60; // items read at a time; the server gives 200 at most
const SOON = 150; // ms until a list is read anew after changes that cannot be placed in it
const MOST_KEPT = 2000; // items; far more than fit onto a screen
const ACTIVE = new Set(['queued', 'running']);

/** @param {import('./api.js').Job} job */
export const isActive = (job) => ACTIVE.has(job.status);

/**
 * What is shown of the history: a view and what it is narrowed down to.
 * @typedef {{view: string, search: string, game: string, model: string}} Query
 */

export class Library extends EventTarget {
  /** @type {Map<string, import('./api.js').Job>} */
  #jobs = new Map();
  /** When each job was last told of, counted in tellings. @type {Map<string, number>} */
  #told = new Map();
  #clock = 0;
  /** Ids of the list, newest first; holes where nothing was read yet. @type {(string|undefined)[]} */
  #list = [];
  /** Pages that are being read, of the present list. @type {Set<number>} */
  #reading = new Set();
  #generation = 0; // of the list; answers for an older one are dropped
  #timer = 0;
  #seen = { first: 0, last: PAGE };
  /** @type {Query} */
  query = { view: 'all', search: '', game: '', model: '' };
  loaded = false;

  get view() {
    return this.query.view;
  }

  /** How many items the list has. */
  get total() {
    return this.#list.length;
  }

  /** Whether the list leaves out anything of its view. */
  get isNarrowed() {
    return Boolean(this.query.search || this.query.game || this.query.model);
  }

  /** The query as part of an address. */
  get #words() {
    return new URLSearchParams({ ...this.query }).toString();
  }

  /** Reads everything anew, as far as it was looked at, and tells what has changed as events would have told it. */
  async reload() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#generation += 1;
    const generation = this.#generation;
    const began = this.#clock;
    const first = Math.floor(this.#seen.first / PAGE) * PAGE;
    const wanted = Math.min(Math.max(PAGE, this.#seen.last - first), 200);
    const [active, finished] = await Promise.all([
      call('GET', '/api/jobs?view=active'),
      call('GET', `/api/jobs?${this.#words}&offset=${first}&limit=${wanted}`),
    ]);
    const read = new Map([...active.jobs, ...finished.jobs].map((job) => [job.id, job]));
    for (const job of await this.#ended(read)) read.set(job.id, job);
    if (generation !== this.#generation) return; // read anew meanwhile
    const before = this.#jobs;
    // What was told while these answers were on their way is newer than they are.
    const told = [...before].filter(([id]) => (this.#told.get(id) ?? 0) > began);
    this.#jobs = new Map([...read, ...told]);
    this.#reading.clear();
    this.#list = new Array(finished.total);
    finished.jobs.forEach((job, index) => { this.#list[first + index] = job.id; });
    this.loaded = true;
    for (const [, job] of told) this.#place(job);
    this.#changed();
    for (const [id, job] of this.#jobs) this.#tellStatus(job, before.get(id));
  }

  /** Jobs that were active and are in neither list: ended, and not in the present view. */
  async #ended(read) {
    const gone = this.active().filter((job) => !read.has(job.id));
    const answers = await Promise.allSettled(gone.map((job) => call('GET', `/api/jobs/${job.id}`)));
    return answers.filter(({ status }) => status === 'fulfilled').map((/** @type {any} */ answer) => answer.value);
  }

  /** Has a job that this page has asked for, whether or not an event has told of it yet. @param {string} id */
  async expect(id) {
    this.dispatchEvent(new Event('asked'));
    if (this.get(id)) return;
    const job = await call('GET', `/api/jobs/${id}`).catch(() => null); // it is asked for all the same, and an event will tell
    if (job?.id === id && !this.get(id)) this.put(job);
  }

  /** Reads what is missing of the items from `first` to before `last`, which are about to be seen. */
  see(first, last) {
    this.#seen = { first, last };
    for (let page = Math.floor(first / PAGE); page * PAGE < Math.min(last, this.total); page += 1) {
      const [from, to] = [Math.max(page * PAGE, first), Math.min((page + 1) * PAGE, last, this.total)];
      for (let index = from; index < to; index += 1) {
        if (this.#list[index] === undefined && !this.#reading.has(page)) this.#read(page);
      }
    }
  }

  async #read(page) {
    const generation = this.#generation;
    this.#reading.add(page);
    try {
      const { jobs, total } = await call('GET', `/api/jobs?${this.#words}&offset=${page * PAGE}&limit=${PAGE}`);
      if (generation !== this.#generation) return;
      if (total !== this.total) {
        this.#reloadSoon(); // something came or went that was not told
        return;
      }
      for (const job of jobs) if (!this.#jobs.has(job.id)) this.#jobs.set(job.id, job);
      jobs.forEach((job, index) => { this.#list[page * PAGE + index] = job.id; });
      this.#forget(page);
      this.#changed();
    } catch {
      // The server is away, which the top line tells; all is read anew when it is back.
    } finally {
      if (generation === this.#generation) this.#reading.delete(page);
    }
  }

  /** Forgets items far from `page`, so that looking through a long history does not fill the memory. */
  #forget(page) {
    if (this.#jobs.size <= MOST_KEPT) return;
    const near = MOST_KEPT / 4;
    this.#list.forEach((id, index) => {
      if (index < PAGE || Math.abs(index - page * PAGE) < near) return;
      this.#jobs.delete(id);
      this.#list[index] = undefined;
    });
  }

  #reloadSoon() {
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.reload().catch(() => {});
    }, SOON);
  }

  /** Shows another part of the history. @param {string|Partial<Query>} change a view, or what differs */
  async show(change) {
    this.query = { ...this.query, ...(typeof change === 'string' ? { view: change } : change) };
    this.#jobs = new Map([...this.#jobs].filter(([, job]) => isActive(job)));
    this.#list = [];
    this.#seen = { first: 0, last: PAGE };
    this.loaded = false;
    await this.reload();
  }

  /** Running first, then waiting ones in order. */
  active() {
    return [...this.#jobs.values()].filter(isActive).sort((a, b) => a.position - b.position);
  }

  /** What is known of the list, newest first. */
  history() {
    return this.#list.filter((id) => id !== undefined).map((id) => this.#jobs.get(id)).filter(Boolean);
  }

  /** Items `first` to before `last` of the list; undefined for those that are yet to be read. */
  between(first, last) {
    return this.#list.slice(first, last).map((id) => (id === undefined ? undefined : this.#jobs.get(id)));
  }

  /** Where in the list a job is; -1 where it is not, or has not been read. @param {string} id */
  indexOf(id) {
    return this.#list.indexOf(id);
  }

  /** Ids of all items of the list, read or not. @returns {Promise<string[]>} */
  async ids() {
    return (await call('GET', `/api/jobs/ids?${this.#words}`)).ids;
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
    this.#place(job);
    this.#changed();
    this.#tellStatus(job, before);
  }

  /** Puts a job where it belongs in the list, or takes it out. */
  #place(job) {
    if (!this.loaded) return;
    const at = this.#list.indexOf(job.id);
    const fits = { all: !job.binned, starred: !job.binned && job.starred, bin: job.binned }[this.view];
    const belongs = !isActive(job) && fits;
    if (at >= 0 && !belongs) this.#list.splice(at, 1);
    if (at >= 0 || isActive(job)) return;
    if (this.isNarrowed || !belongs) {
      this.#reloadSoon(); // the server knows whether it is found, or was somewhere in what has not been read
      return;
    }
    const older = this.#list.findIndex((id) => id !== undefined && this.#jobs.get(id)?.position < job.position);
    const place = older < 0 ? this.#list.length : older;
    if (place > 0 && this.#list[place - 1] === undefined) this.#reloadSoon();
    else this.#list.splice(place, 0, job.id);
  }

  #tellStatus(job, before) {
    if (before && before.status !== job.status) {
      this.dispatchEvent(new CustomEvent('status', { detail: { job, before: before.status } }));
    }
  }

  /** Takes one event of the server's socket. */
  take(event) {
    if (event.type === 'job') this.put(event.job);
    if (event.type === 'history') this.#reloadSoon();
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
