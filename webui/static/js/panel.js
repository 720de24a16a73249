/** The instrument: mixer and settings as one, remembered between visits, and fitted to whichever model answers. */

import { call } from './api.js';
import { WITHOUT_SOURCE } from './controls/keys.js';
import { setText, byId } from './dom.js';
import { Mixer } from './mixer.js';
import { clearFieldErrors, notice } from './notices.js';
import { SourceBox } from './exchange/source_box.js';
import { SettingsPanel } from './settings.js';
import { isRecord, remember, remembered } from './storage.js';
import { PANEL as TEXT } from './texts.js';

/** No setting is that long; the server refuses a request of such length as a whole. */
const isHuge = (value) => (JSON.stringify(value) ?? '').length > 20_000;

/**
 * What of a request the model can do, as the server judges it.
 * @param {any} request @param {any} health @param {any} options
 * @returns {Promise<{request: any, dropped: Record<string, string>}>}
 */
async function usable(request, health, options) {
  const known = new Set(health.games.map((game) => game.name));
  const games = Object.entries(isRecord(request.games) ? request.games : {});
  const unknown = games.filter(([name]) => !known.has(name)).map(([name]) => [`games.${name}`, 'unknown']);
  const fields = Object.entries(request).filter(([name, value]) => name in options.fields && name !== 'games' && !isHuge(value));
  const body = { ...Object.fromEntries(fields), games: Object.fromEntries(games.filter(([name]) => known.has(name))) };
  if (isRecord(body.source)) delete body.source.label; // what it is called is for people
  try {
    const answer = await call('POST', '/api/check', { body });
    return { request: answer.request, dropped: { ...Object.fromEntries(unknown), ...answer.dropped } };
  } catch (error) {
    if (error.status < 400 || error.status >= 500 || error.status === 401) throw error;
    return { request: {}, dropped: { settings: error.message } }; // such as megabytes of nonsense
  }
}

/** In words, what had to be left out: "Cave, Sky and the sampler options"; empty where nothing had to. */
const inWords = (dropped) => TEXT.parts(Object.keys(dropped).map((name) => name.replace(/^games(_end)?\./, '').replaceAll('_', ' ')));

export class Panel {
  #mixer = new Mixer();
  #settings = new SettingsPanel();
  #isReady = false; // before, nothing is remembered
  #health;
  #options;

  /** @param {(request: any) => ?number} predict seconds that a request takes */
  constructor(predict) {
    this.predict = predict;
    this.source = new SourceBox((source) => this.#settings.set(source));
    this.#mixer.addEventListener('change', () => this.#changed());
    this.#settings.addEventListener('change', () => this.#changed());
  }

  get request() {
    return { games: this.#mixer.weights, ...this.#settings.values, games_end: this.#mixer.end };
  }

  /** The schema that controls are drawn from; see webui/desk/request_schema.py. */
  get schema() {
    return this.#options?.schema;
  }

  /** What makes up a preset: how clips are made, where that is not as the model has it; `mix` adds the mix. @param {boolean} mix */
  preset(mix) {
    const kept = Object.entries(this.#settings.changes).filter(([name]) => name !== 'seed' && !(name in WITHOUT_SOURCE));
    return { ...Object.fromEntries(kept), ...(mix ? { games: this.#mixer.weights, games_end: this.#mixer.end } : {}) };
  }

  /**
   * Fits the instrument to a model: the first one, or another that answers at the same address. What it cannot do is
   * left out; what was never changed becomes what it recommends.
   */
  async adopt(health, options) {
    const saved = this.#isReady ? this.#present() : remembered('changes', {}, isRecord);
    const label = isRecord(saved.source) ? saved.source.label : undefined;
    const { request, dropped } = await usable(structuredClone(saved), health, options);
    const first = health.games[0] ? { [health.games[0].name]: 1 } : {};
    const before = this.#isReady ? this.#health.model : null;
    this.#isReady = false;
    this.#health = health;
    this.#options = options;
    const { games = {}, games_end: end, ...settings } = request;
    if (settings.source) settings.source.label = label;
    const isMixed = Object.values(games).some(Boolean);
    this.#mixer.setGames(health.games, isMixed ? { games, games_end: end, solo: isRecord(saved.solo) ? saved.solo : {} } : { games: first });
    this.#settings.setOptions(options, health.controls ?? [], settings, saved['seed-mode']);
    this.#isReady = true;
    this.#changed();
    if (before === null) return;
    const words = inWords(dropped);
    notice([(before === health.model ? TEXT.changed : TEXT.other)(health.model), words && TEXT.itLacks(words)].filter(Boolean).join(' '));
  }

  /** Takes over all settings of a clip, which another model may have made: what it does not say is as the model has it. */
  async apply(other) {
    const games = Object.keys(other.games ?? {}).filter((name) => this.#mixer.has(name));
    if (games.length) this.#mixer.restore(other);
    this.#settings.set({ ...this.#settings.unsaid(other), ...other });
    this.#settings.seedMode = 'lock';
    this.#changed();
    const { dropped } = await usable(structuredClone(other), this.#health, this.#options);
    this.#settings.reset(Object.keys(dropped));
    const words = inWords(dropped);
    if (words) notice([TEXT.modelLacks(words), !games.length && this.#health.games.length && TEXT.mixStays].filter(Boolean).join(' '));
  }

  /** Takes over a preset: seed and source stay, and so do length and mix where it does not say them. */
  async applyPreset(preset) {
    const { mix, settings } = { mix: this.#mixer.state, settings: { ...this.#settings.all } };
    const { request, dropped } = await usable(structuredClone(preset), this.#health, this.#options);
    const { games, games_end: end, ...fields } = request;
    if (games && Object.values(games).some(Boolean)) this.#mixer.restore({ games, games_end: end });
    const stay = ['seed', 'seconds', 'controls', ...Object.keys(WITHOUT_SOURCE)].map((name) => [name, settings[name]]);
    this.#settings.set({ ...this.#settings.unsaid(fields), ...Object.fromEntries(stay), ...fields });
    const words = inWords(dropped);
    if (words) notice(TEXT.modelLacks(words));
    return () => { this.#mixer.restore(mix); this.#settings.set(settings); };
  }

  showEstimate() {
    const seconds = this.predict(this.request);
    setText(byId('estimate'), seconds ? TEXT.estimate(seconds) : '');
  }

  advanceSeed() {
    this.#settings.advanceSeed();
  }

  #present() {
    return { ...this.#settings.changes, ...this.#mixer.state, 'seed-mode': this.#settings.seedMode };
  }

  #changed() {
    if (!this.#isReady) return;
    remember('changes', this.#present());
    this.source.show(this.#settings.all.source);
    clearFieldErrors();
    this.showEstimate();
  }
}
