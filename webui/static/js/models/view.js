/** The models: which there are, what each is like, and which one plays. */

import { call } from '../api.js';
import { byId, el } from '../dom.js';
import { announce, notice } from '../notices.js';
import { runFigure } from './curve.js';
import { markdown } from './markdown.js';

const MANY_GAMES = 24; // more are searched

const bytes = (size) => (size >= 1e9 ? `${(size / 1e9).toFixed(1)} GB` : size >= 1e6 ? `${(size / 1e6).toFixed(1)} MB` : `${Math.round(size / 1e3)} kB`);

export class ModelsView {
  /** What /api/models says. */
  #models = { models: [], chosen: '', loaded: '' };
  #shown = '';
  #ema = null;

  /** @param {(health: any) => void} onHealth takes the health of another model over */
  constructor(onHealth) {
    this.onHealth = onHealth;
    byId('model-line').onclick = () => this.open();
    byId('models-close').onclick = () => byId('models').close();
  }

  /** @param {string} [id] the model to show; the one that plays by default */
  async open(id) {
    byId('models').showModal();
    try {
      this.#models = await call('GET', '/api/models');
      this.#ema = (await call('GET', '/api/health')).ema;
      await this.#show(id ?? this.#models.chosen);
    } catch (error) {
      notice(error.message);
    }
  }

  #list() {
    const { models, chosen } = this.#models;
    byId('models-list').replaceChildren(...models.map((model) =>
      el('li', {},
        el('button', { type: 'button', class: 'model-item', 'aria-current': String(model.id === this.#shown), onclick: () => this.#show(model.id).catch((error) => notice(error.message)) },
          el('span', { class: 'model-name' }, model.name),
          el('span', { class: 'model-about' }, model.problem ? 'cannot play yet' : `${model.games} ${model.games === 1 ? 'game' : 'games'}${model.shipped ? ' · comes with the program' : ''}`),
          model.id === chosen ? el('span', { class: 'model-plays' }, 'plays') : null))));
  }

  async #show(id) {
    const entry = this.#models.models.find((model) => model.id === id);
    if (!entry) return;
    this.#shown = id;
    this.#list();
    const detail = await call('GET', `/api/models/${encodeURIComponent(id)}`);
    if (this.#shown !== id) return; // another one was chosen meanwhile
    byId('model-page').replaceChildren(...[
      el('h3', { class: 'model-title' }, entry.name),
      this.#choice(entry, detail),
      facts(entry, detail),
      games(detail.games),
      section('Training', ...Object.entries(detail.curves).map(([run, curves]) => runFigure(run, curves)), tensorboard(detail)),
      section('Figures', figures(detail.figures)),
      section('Card', detail.card ? el('div', { class: 'model-card' }, ...markdown(detail.card.replace(/^\s*# .*\n/, ''))) : null),
    ].filter(Boolean));
  }

  /** What plays the model, and with which of its weights. */
  #choice(entry, detail) {
    if (entry.problem) return el('p', { class: 'card-error' }, `It cannot be played: ${entry.problem}.`);
    const isChosen = entry.id === this.#models.chosen;
    const select = /** @type {HTMLSelectElement} */ (el('select', { id: 'model-ema' },
      el('option', { value: '' }, `as the model has it${detail.default_ema ? ` (${detail.default_ema})` : ''}`),
      ...detail.emas.map((name) => el('option', { value: name }, name === 'raw' ? 'raw: as the optimizer left them' : name))));
    select.value = (isChosen && this.#ema) || '';
    const button = el('button', { type: 'button', class: 'chip primary', id: 'model-choose' }, isChosen ? 'Plays now' : 'Play this model');
    const show = () => { /** @type {any} */ (button).disabled = isChosen && select.value === (this.#ema ?? ''); };
    show();
    select.onchange = () => {
      if (isChosen) button.textContent = 'Play with these weights';
      show();
    };
    button.onclick = () => this.#choose(entry, select.value || null);
    const weights = detail.emas.length > 1 ? el('label', { class: 'model-weights' }, 'Weights ', select) : null;
    return el('div', { class: 'model-choice' }, button, weights);
  }

  async #choose(entry, ema) {
    try {
      const health = await call('POST', '/api/models/choose', { body: { model: entry.id, ema } });
      this.#models.chosen = health.model_id;
      this.#ema = health.ema;
      this.onHealth(health);
      announce(`${entry.name} is chosen.`);
      await this.#show(entry.id);
    } catch (error) {
      notice(error.message);
    }
  }
}

function section(heading, ...children) {
  const shown = children.filter(Boolean);
  return shown.length ? el('section', {}, el('h4', {}, heading), ...shown) : null;
}

function facts(entry, detail) {
  const list = { Folder: detail.folder, Size: detail.bytes ? bytes(detail.bytes) : null };
  for (const { name, type, bytes: size } of detail.modules) list[name] = `${type.split('.').at(-1)}${size > 1000 ? `, ${bytes(size)}` : ''}`;
  return el('dl', {}, ...Object.entries(list).filter(([, text]) => text).flatMap(([term, text]) => [el('dt', {}, term), el('dd', {}, text)]));
}

function games(all) {
  if (!all.length) return null;
  const list = el('ul', { class: 'model-games' });
  const show = (text) => {
    const found = all.filter(({ name }) => name.toLowerCase().includes(text.toLowerCase()));
    const rest = found.length - 200;
    list.replaceChildren(...found.slice(0, 200).map(({ name, tracks }) => el('li', {}, name, el('span', {}, ` ${tracks}`))), rest > 0 ? el('li', {}, `and ${rest} more`) : '');
  };
  show('');
  const search = all.length > MANY_GAMES ? el('input', { type: 'search', class: 'search', placeholder: 'Search games', 'aria-label': 'Search the games of this model', oninput: (event) => show(event.target.value) }) : null;
  return section(`${all.length} ${all.length === 1 ? 'game' : 'games'}, with their tracks`, search, list);
}

function figures(all) {
  const rows = Object.entries(all);
  if (!rows.length) return null;
  return el('table', {}, el('tbody', {}, ...rows.map(([name, value]) => el('tr', {}, el('th', { scope: 'row' }, name.replaceAll('_', ' ')), el('td', {}, String(Math.round(value * 10000) / 10000))))));
}

function tensorboard(detail) {
  return detail.tensorboard ? el('p', { class: 'model-tensorboard' }, 'All curves: ', el('code', {}, detail.tensorboard), ', then open localhost:6006.') : null;
}
