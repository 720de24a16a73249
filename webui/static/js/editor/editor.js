/** Works on a clip: each result is a version of it, and all versions can be walked. */

import { call } from '../api.js';
import { hasGames } from '../colours.js';
import { byId, el, setText } from '../dom.js';
import { titleOf } from '../format.js';
import { icon } from '../icons.js';
import { isActive } from '../library.js';
import { announce, notice } from '../notices.js';
import { randomKey } from '../random.js';
import { SeamPanel } from './seam.js';
import { EDITOR as TEXT, TOOLS } from '../texts.js';
import { Timeline } from './timeline.js';
import { Tools } from './tools.js';
import { parentOf, versionsList } from './versions.js';

/** @typedef {import('../api.js').Job} Job */

const ADDRESS = /^#edit=([0-9a-f]{16})$/;
const RUN_UP = 1.5; // seconds that are heard before a seam, or before what is new
const ZOOMS = { '+': 1, '=': 1, '-': -1 };

export class Editor {
  /** @type {?Job} */
  job = null;
  /** @type {?AudioBuffer} */
  #sound = null;
  /** The clip and all its versions. @type {Map<string, Job>} */
  #family = new Map();
  /** What this page asked for and waits for. @type {?{parent: Job, ids: Set<string>, at: number, plays: boolean}} */
  #wanted = null;
  #timeline = new Timeline();
  #isRepeating = false;
  #usesClip = true;
  #isAsking = false;
  #isApplying = false;

  /**
   * @param {{player: import('../player.js').Player, library: import('../library.js').Library,
   *   compare: import('./compare.js').Compare, instrument: () => Record<string, any>}} parts `instrument` tells the
   *   request of the instrument
   */
  constructor({ player, library, compare, instrument }) {
    Object.assign(this, { player, clips: library, compare, instrument });
    this.root = byId('editor');
    this.tools = new Tools(this.#timeline, () => instrument().games);
    this.#build();
    this.#timeline.addEventListener('seek', (event) => this.#seek(/** @type {CustomEvent} */ (event).detail));
    this.#timeline.addEventListener('regions', () => this.#applyRepeat());
    for (const event of ['state', 'time']) player.addEventListener(event, () => this.#followPlayer());
    library.addEventListener('change', () => this.#followLibrary());
    library.addEventListener('progress', (event) => this.#showProgress(/** @type {CustomEvent} */ (event).detail));
  }

  /** Opens what the page's address names, now and whenever it changes; the server and its games must be known. */
  begin() {
    addEventListener('hashchange', () => this.#readAddress());
    this.#readAddress();
  }

  /** Opens a clip; the address of the page then names it, so that Back and Reload find it. @param {string} id */
  open(id) {
    if (location.hash === `#edit=${id}`) this.#readAddress();
    else location.hash = `edit=${id}`;
  }

  close() {
    const { id } = this.job;
    history.pushState(null, '', location.pathname + location.search);
    this.#readAddress();
    const card = [...document.querySelectorAll('.card')].find((element) => /** @type {HTMLElement} */ (element).dataset.key.startsWith(id));
    /** @type {HTMLElement} */ (card?.querySelector('.edit') ?? byId('stage')).focus();
  }

  async #readAddress() {
    const id = ADDRESS.exec(location.hash)?.[1];
    if (!id) {
      this.job = null;
      this.root.hidden = true;
      return;
    }
    if (this.job?.id === id) return;
    try {
      const { jobs } = await call('GET', `/api/jobs/${id}/versions`);
      this.#family = new Map(jobs.map((job) => [job.id, job]));
      const job = this.#family.get(id);
      if (job?.audio) this.#show(job);
      else notice(TEXT.unreadable);
    } catch (error) {
      notice(error.message);
    }
  }

  /** @param {Job} job a finished clip */
  async #show(job) {
    const isFirst = this.root.hidden;
    this.job = job;
    this.#sound = null;
    this.root.hidden = false;
    setText(byId('editor-heading'), TEXT.heading(titleOf(job)));
    this.#timeline.open(job.request.seconds);
    this.tools.open(job);
    this.#isRepeating = Boolean(job.request.loop);
    this.#showVersions();
    this.#setTool(this.#timeline.tool || 'anew');
    if (isFirst) this.#arrive();
    if (this.player.job?.id !== job.id && !this.compare.has(job.id)) this.player.load(job);
    try {
      const sound = await this.player.sounds.get(job);
      if (this.job !== job) return;
      this.#sound = sound;
      this.#timeline.setSound(sound);
      this.#showSeam(); // the tool's fields stay as they are: the keyboard may be in one of them
      this.#applyRepeat();
    } catch {
      if (this.job === job) notice(TEXT.unreadable);
    }
  }

  #arrive() {
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.root.scrollIntoView({ behavior: still ? 'auto' : 'smooth', block: 'start' });
    byId('editor-heading').focus({ preventScroll: true });
  }

  // -- what is on the screen ----------------------------------------------------------------------------------------

  #build() {
    const tool = (label, symbol, action) => el('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick: action }, symbol);
    this.repeat = el('button', { type: 'button', class: 'chip', 'aria-pressed': 'false', onclick: () => this.#setRepeat(!this.#isRepeating) }, TEXT.repeat);
    this.back = el('button', { type: 'button', class: 'chip', onclick: () => this.#goBack() }, TEXT.back);
    this.versions = el('nav', { class: 'versions', 'aria-label': TEXT.versions });
    this.seam = new SeamPanel(() => this.#hearSeam());
    this.tabs = el('div', { class: 'segmented tools-row', role: 'group', 'aria-label': TEXT.tool },
      ...Object.entries(TOOLS).map(([name, { label }]) => el('button', { type: 'button', 'data-tool': name, onclick: () => this.#setTool(name) }, label)));
    this.status = el('p', { class: 'editor-status', role: 'status' });
    this.error = el('p', { class: 'field-error', role: 'alert' });
    this.make = el('button', { type: 'button', class: 'generate editor-make', onclick: () => this.#make() }, Object.values(TOOLS)[0].button);
    this.root.append(
      el('div', { class: 'panel-head' },
        el('h2', { id: 'editor-heading', tabindex: '-1' }),
        el('div', { class: 'tools' }, this.repeat,
          tool(TEXT.zoomOut, '\u2212', () => this.#timeline.zoom(-1)), tool(TEXT.zoomIn, '+', () => this.#timeline.zoom(1)), tool(TEXT.whole, '\u2194', () => this.#timeline.whole()),
          tool(TEXT.close, icon('cancel'), () => this.close()))),
      this.#timeline.element, this.tabs, this.tools.pane,
      el('div', { class: 'make-row' }, this.#buildSettings(), this.make), this.error, this.status, this.seam.element,
      el('div', { class: 'versions-row' }, this.back, this.versions));
    this.root.addEventListener('keydown', (event) => this.#onKey(event));
  }

  #buildSettings() {
    const buttons = [[true, TEXT.ofClip], [false, TEXT.ofInstrument]].map(([ofClip, label]) => el('button', {
      type: 'button', 'aria-pressed': String(ofClip), onclick: (event) => {
        this.#usesClip = Boolean(ofClip);
        for (const button of buttons) button.setAttribute('aria-pressed', String(button === event.currentTarget));
      },
    }, String(label)));
    this.settings = el('div', { class: 'settings-row' }, el('span', {}, TEXT.settings), el('div', { class: 'segmented', role: 'group', 'aria-label': TEXT.settings }, ...buttons));
    return this.settings;
  }

  #setTool(wanted) {
    const name = wanted === 'mix' && !hasGames() ? 'anew' : wanted;
    this.#timeline.tool = name;
    this.tabs.querySelector('[data-tool="mix"]').hidden = !hasGames();
    for (const button of this.tabs.children) button.setAttribute('aria-pressed', String(/** @type {HTMLElement} */ (button).dataset.tool === name));
    setText(this.make, TOOLS[name].button);
    setText(this.error, '');
    this.settings.hidden = name === 'vary';
    this.tools.show();
    this.#timeline.whole();
    this.#showSeam();
  }

  #showSeam() {
    const isLoop = Boolean(this.job?.request.loop);
    this.seam.show(isLoop || this.#timeline.tool === 'loop' ? this.#sound : null, isLoop);
  }

  #showVersions() {
    const jobs = [...this.#family.values()];
    const active = /** @type {HTMLElement} */ (document.activeElement);
    const focused = this.versions.contains(active) ? active.dataset.id : null;
    this.versions.replaceChildren(versionsList(jobs, this.job.id, (job) => this.open(job.id)));
    if (focused) /** @type {HTMLElement} */ (this.versions.querySelector(`[data-id="${focused}"]`))?.focus();
    this.back.toggleAttribute('disabled', !parentOf(jobs, this.job.id)?.audio);
  }

  #goBack() {
    const parent = parentOf([...this.#family.values()], this.job.id);
    if (parent) this.open(parent.id);
  }

  // -- sound --------------------------------------------------------------------------------------------------------

  /** Whether the player holds the clip in the editor, or one that is compared with it. */
  get #isHeard() {
    const id = this.player.job?.id;
    return Boolean(this.job && id && (id === this.job.id || (this.compare.has(id) && this.#family.has(id))));
  }

  #followPlayer() {
    if (!this.job || !this.#isHeard) return;
    this.#timeline.setPosition(this.player.seconds);
    if (this.#isRepeating && !this.player.loop && this.#sound) this.#applyRepeat();
  }

  async #seek(seconds) {
    if (!this.#isHeard) await this.player.load(this.job, { seconds });
    else this.player.seek(seconds);
    this.#timeline.setPosition(seconds);
  }

  #setRepeat(repeats) {
    this.#isRepeating = repeats;
    this.#applyRepeat();
  }

  /** Repeats the region that was changed last, or else the whole clip. */
  #applyRepeat() {
    this.repeat.setAttribute('aria-pressed', String(this.#isRepeating));
    if (!this.#sound || !this.#isHeard) return;
    const region = this.#timeline.tool === 'anew' ? this.#timeline.regions[this.#timeline.current] : undefined;
    const wanted = this.#isRepeating ? (region ? { ...region } : { start: 0, end: Infinity }) : null;
    const { loop } = this.player;
    const isSame = wanted ? loop?.start === wanted.start && loop.end === Math.min(wanted.end, this.player.duration) : !loop;
    if (isSame || this.#isApplying) return;
    this.#isApplying = true; // the player tells of it at once
    this.player.loop = wanted;
    this.#isApplying = false;
  }

  async #hearSeam() {
    this.#isRepeating = true;
    await this.#seek(Math.max(0, this.#sound.duration - RUN_UP));
    this.#timeline.current = -1;
    this.#applyRepeat();
    if (!this.player.isPlaying) this.player.toggle();
  }

  // -- making -------------------------------------------------------------------------------------------------------

  async #make() {
    if (this.#isAsking) return;
    const { job } = this;
    const settings = this.#usesClip ? job.request : this.instrument();
    const requests = this.tools.requests({ job, settings, seconds: this.#timeline.duration });
    setText(this.error, typeof requests === 'string' ? requests : '');
    if (typeof requests === 'string') return;
    const at = this.#timeline.tool === 'anew' ? this.#timeline.regions[0].start - RUN_UP : this.#timeline.tool === 'extend' && !this.#timeline.before ? this.#timeline.duration - RUN_UP : 0;
    const wanted = { parent: job, ids: new Set(), at: Math.max(0, at), plays: byId('play-new').checked };
    this.#isAsking = true;
    this.make.setAttribute('aria-busy', 'true');
    try {
      for (const request of requests) wanted.ids.add(await this.#ask(job, request));
    } catch (error) {
      setText(this.error, error.message);
    } finally {
      this.#isAsking = false;
      this.make.removeAttribute('aria-busy');
    }
    if (!wanted.ids.size) return;
    this.#wanted = wanted;
    setText(this.status, TEXT.asking);
    this.#followLibrary();
  }

  async #ask(job, body) {
    const { id } = await call('POST', `/api/jobs?parent=${job.id}`, { body, headers: { 'Idempotency-Key': randomKey() } });
    await this.clips.expect(id);
    return id;
  }

  #showProgress(job) {
    if (this.#wanted?.ids.has(job.id)) setText(this.status, TEXT.forming(job.text ?? '\u2026'));
  }

  /** New versions, and old ones that changed. */
  #followLibrary() {
    if (!this.job) return;
    // The present view of the history may lack what was asked for.
    const asked = [...(this.#wanted?.ids ?? []), ...this.#family.keys()].map((id) => this.clips.get(id)).filter(Boolean);
    const known = [...asked, ...this.clips.active(), ...this.clips.history()];
    let isChanged = false;
    for (const job of [...known].sort((a, b) => a.position - b.position)) {
      if (!this.#family.has(job.id) && !this.#family.has(job.parent)) continue;
      const before = this.#family.get(job.id);
      this.#family.set(job.id, job);
      isChanged ||= before?.status !== job.status || before?.binned !== job.binned || before?.title !== job.title;
    }
    if (isChanged) this.#showVersions();
    const ended = this.#wanted && [...this.#wanted.ids].map((id) => this.#family.get(id)).filter((job) => job && !isActive(job));
    if (ended && ended.length === this.#wanted.ids.size) this.#finish(ended);
  }

  /** All that was asked for has ended: shows the first result, compares it, and plays it where that was wished. */
  async #finish(ended) {
    const { parent, at, plays } = this.#wanted;
    this.#wanted = null;
    const made = ended.filter((job) => job.audio);
    if (!made.length) {
      setText(this.status, ended.find((job) => job.error)?.error ?? TEXT.none);
      return;
    }
    setText(this.status, TEXT.ready(made.length));
    announce(TEXT.ready(made.length));
    const wasPlaying = this.player.isPlaying;
    const isHere = this.job?.id === parent.id;
    this.compare.set(made.length > 1 ? made : [parent, made[0]]);
    if (!isHere) return; // somewhere else meanwhile: it waits in the tree and in the comparison
    this.open(made[0].id);
    if (!wasPlaying) await this.player.load(made[0], { play: plays, seconds: at });
  }

  #onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    // Many keyboards type brackets with AltGr, which some systems tell as Ctrl and Alt, others as Alt alone.
    const isBracket = '[]'.includes(event.key) && (event.altKey || event.getModifierState('AltGraph')) && !event.metaKey;
    if (((event.ctrlKey || event.metaKey || event.altKey) && !isBracket) || target.matches('input:not([type=range]), textarea, select')) return;
    const { position } = this.#timeline;
    const actions = {
      0: () => this.#timeline.whole(),
      '[': () => this.#timeline.tool === 'anew' && this.tools.addRegion(),
      ']': () => this.#timeline.moveRegion(this.#timeline.current, { end: position }),
    };
    if (event.key in ZOOMS) this.#timeline.zoom(ZOOMS[event.key]);
    else if (event.key === ']' && this.#timeline.current < 0) return;
    else if (!actions[event.key]) return;
    else actions[event.key]();
    event.preventDefault();
  }
}
