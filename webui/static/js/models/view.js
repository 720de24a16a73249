/** The models: which there are, what each is like, and which one plays. */

import { call } from '../api.js';
import { chart } from '../chart.js';
import { byId, el, refill } from '../dom.js';
import { sizeText } from '../format.js';
import { announce, notice } from '../notices.js';
import { CHART, MODELS as TEXT } from '../texts.js';
import { markdown } from './markdown.js';

const MANY_GAMES = 24; // more are searched

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
    refill(byId('models-list'), ...models.map((model) =>
      el('li', {},
        el('button', { type: 'button', class: 'model-item', 'aria-current': String(model.id === this.#shown), onclick: () => this.#show(model.id).catch((error) => notice(error.message)) },
          el('span', { class: 'model-name' }, model.name),
          el('span', { class: 'model-about' }, model.problem ? TEXT.cannot : TEXT.about(model.games, model.shipped)),
          model.id === chosen ? el('span', { class: 'model-plays' }, TEXT.plays) : null))));
  }

  async #show(id) {
    const entry = this.#models.models.find((model) => model.id === id);
    if (!entry) return;
    this.#shown = id;
    this.#list();
    const detail = await call('GET', `/api/models/${encodeURIComponent(id)}`);
    if (this.#shown !== id) return; // another one was chosen meanwhile
    refill(byId('model-page'), ...[
      el('h3', { class: 'model-title' }, entry.name),
      this.#choice(entry, detail),
      facts(entry, detail),
      games(detail.games),
      section(TEXT.training, ...Object.entries(detail.curves).map(([run, curves]) => runChart(run, curves)), tensorboard(detail)),
      section(TEXT.figures, figures(detail.figures)),
      section(TEXT.card, detail.card ? el('div', { class: 'model-card' }, ...markdown(detail.card.replace(/^\s*# .*\n/, ''))) : null),
    ].filter(Boolean));
  }

  /** What plays the model, and with which of its weights. */
  #choice(entry, detail) {
    if (entry.problem) return el('p', { class: 'card-error' }, TEXT.problem(entry.problem));
    const isChosen = entry.id === this.#models.chosen;
    const select = /** @type {HTMLSelectElement} */ (el('select', { id: 'model-ema' },
      el('option', { value: '' }, TEXT.usual(detail.default_ema)),
      ...detail.emas.map((name) => el('option', { value: name }, name === 'raw' ? TEXT.raw : name))));
    select.value = (isChosen && this.#ema) || '';
    const button = el('button', { type: 'button', class: 'chip primary', id: 'model-choose' }, isChosen ? TEXT.now : TEXT.play);
    const show = () => { /** @type {any} */ (button).disabled = isChosen && select.value === (this.#ema ?? ''); };
    show();
    select.onchange = () => {
      if (isChosen) button.textContent = TEXT.playWith;
      show();
    };
    button.onclick = () => this.#choose(entry, select.value || null);
    const weights = detail.emas.length > 1 ? el('label', { class: 'model-weights' }, TEXT.weights, ' ', select) : null;
    return el('div', { class: 'model-choice' }, button, weights);
  }

  async #choose(entry, ema) {
    try {
      const health = await call('POST', '/api/models/choose', { body: { model: entry.id, ema } });
      this.#models.chosen = health.model_id;
      this.#ema = health.ema;
      this.onHealth(health);
      announce(TEXT.chosen(entry.name));
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

/** The losses of one run, by metric; null where it has none. */
function runChart(run, curves) {
  const named = (metric) => (metric.startsWith('validation/') ? CHART.validation(metric.split('/')[1]) : CHART.training);
  const series = Object.entries(curves).filter(([, points]) => points.length).map(([metric, points]) => ({ name: named(metric), points }));
  return series.length ? chart(run, series) : null;
}

function facts(entry, detail) {
  const list = { [TEXT.folder]: detail.folder, [TEXT.size]: detail.bytes ? sizeText(detail.bytes) : null };
  for (const { name, type, bytes: size } of detail.modules) list[name] = `${type.split('.').at(-1)}${size > 1000 ? `, ${sizeText(size)}` : ''}`;
  return el('dl', {}, ...Object.entries(list).filter(([, text]) => text).flatMap(([term, text]) => [el('dt', {}, term), el('dd', {}, text)]));
}

function games(all) {
  if (!all.length) return null;
  const list = el('ul', { class: 'model-games' });
  const show = (text) => {
    const found = all.filter(({ name }) => name.toLowerCase().includes(text.toLowerCase()));
    const rest = found.length - 200;
    list.replaceChildren(...found.slice(0, 200).map(({ name, tracks }) => el('li', {}, name, el('span', {}, ` ${tracks}`))), rest > 0 ? el('li', {}, TEXT.more(rest)) : '');
  };
  show('');
  const search = all.length > MANY_GAMES ? el('input', { type: 'search', class: 'search', placeholder: TEXT.search, 'aria-label': TEXT.searchLabel, oninput: (event) => show(event.target.value) }) : null;
  return section(TEXT.games(all.length), search, list);
}

function figures(all) {
  const rows = Object.entries(all);
  if (!rows.length) return null;
  return el('table', {}, el('tbody', {}, ...rows.map(([name, value]) => el('tr', {}, el('th', { scope: 'row' }, name.replaceAll('_', ' ')), el('td', {}, String(Math.round(value * 10000) / 10000))))));
}

function tensorboard(detail) {
  return detail.tensorboard ? el('p', {}, TEXT.allCurves, ' ', el('code', {}, detail.tensorboard), TEXT.thenOpen) : null;
}
