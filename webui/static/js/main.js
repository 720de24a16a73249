/** Starts the page and connects its parts. */

import { makeActions } from './actions.js';
import { call, follow, randomKey } from './api.js';
import { setGames } from './colours.js';
import { byId, el, setText } from './dom.js';
import { predictedSeconds } from './estimate.js';
import { roughly, titleOf } from './format.js';
import { HistoryView } from './history.js';
import { initKeyboard } from './keyboard.js';
import { Library } from './library.js';
import { Mixer } from './mixer.js';
import { announce, clearFieldErrors, notice, showFieldError } from './notices.js';
import { Player } from './player.js';
import { QueueView } from './queue.js';
import { SettingsPanel } from './settings.js';
import { remember, remembered } from './storage.js';

const library = new Library();
const player = new Player();
/** Jobs that this page asked for: only these play by themselves. @type {Set<string>} */
const asked = new Set();
const predict = (request) => predictedSeconds(library.history(), request);

async function start() {
  const [health, options] = await Promise.all([call('GET', '/api/health'), call('GET', '/api/options')]);
  setGames(health.games);
  const panel = makePanel(health, options);
  const actions = makeActions(library, player, panel.apply);
  const queue = new QueueView(library, { cancel: actions.cancel, predict });
  const history = new HistoryView(library, player, actions);
  const generate = makeGenerate(panel, () => history.show('all'));

  const playNew = /** @type {HTMLInputElement} */ (byId('play-new'));
  playNew.checked = remembered('play-new', true);
  playNew.onchange = () => remember('play-new', playNew.checked);
  byId('instrument').addEventListener('submit', (event) => {
    event.preventDefault();
    generate();
  });
  initKeyboard({ generate, toggle: () => player.toggle(), cancel: actions.cancelRunning, help: showHelp });
  byId('help-button').onclick = showHelp;
  library.addEventListener('status', (event) => onStatus(/** @type {CustomEvent} */ (event).detail.job));
  library.addEventListener('change', panel.showEstimate);
  player.addEventListener('broken', () => {
    notice('This clip cannot be played; its file may be gone.');
    library.reload();
  });
  setInterval(() => history.render(), 60_000); // "2 min ago" becomes "3 min ago"
  showHealth(health);
  follow({
    onEvent: (event) => (event.type === 'health' ? showHealth(event.health) : library.take(event)),
    onConnected: () => library.reload().then(() => queue.render()),
    onLost: () => showHealth({ ...health, status: 'lost' }),
  });
}

/** The instrument: mixer and settings as one, remembered between visits. */
function makePanel(health, options) {
  const saved = remembered('changes', {});
  const first = health.games[0] ? { [health.games[0].name]: 1 } : {};
  const known = Object.fromEntries(Object.entries(saved.games ?? {}).filter(([name]) => health.games.some((game) => game.name === name)));
  const mixer = new Mixer(health.games, Object.values(known).some(Boolean) ? known : first);
  const settings = new SettingsPanel(options, saved);
  const request = () => ({ games: mixer.weights, ...settings.values });
  const showEstimate = () => {
    const seconds = predict(request());
    setText(byId('estimate'), seconds ? `${roughly(seconds)} to make` : '');
  };
  const changed = () => {
    remember('changes', { games: mixer.weights, ...settings.changes, 'seed-mode': settings.seedMode });
    clearFieldErrors();
    showEstimate();
  };
  mixer.addEventListener('change', changed);
  settings.addEventListener('change', changed);
  const apply = (other) => {
    mixer.set(other.games);
    settings.set(other);
    settings.seedMode = 'lock';
    changed();
  };
  return { request, apply, showEstimate, advanceSeed: () => settings.advanceSeed() };
}

/** Returns what the Generate button does; pressing twice by accident asks once. */
function makeGenerate(panel, showHistory) {
  const button = byId('generate');
  let isAsking = false;
  // The server answers between the two clicks of a double click, so that waiting for it does not suffice.
  button.addEventListener('click', (event) => event.detail > 1 && event.preventDefault());
  return async () => {
    if (isAsking) return;
    isAsking = true;
    button.setAttribute('aria-busy', 'true');
    clearFieldErrors();
    try {
      const { id } = await call('POST', '/api/jobs', { body: panel.request(), headers: { 'Idempotency-Key': randomKey() } });
      asked.add(id);
      panel.advanceSeed();
      if (!library.get(id)) library.put(await call('GET', `/api/jobs/${id}`));
      if (library.view === 'bin') showHistory();
      announce('Generating.');
      showStage();
    } catch (error) {
      showFieldError(error);
    } finally {
      isAsking = false;
      button.removeAttribute('aria-busy');
    }
  };
}

/** On a narrow screen the results are below the instrument: goes there. */
function showStage() {
  if (!matchMedia('(max-width: 860px)').matches) return;
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  byId('stage').scrollIntoView({ behavior: still ? 'auto' : 'smooth' });
}

/** @param {import('./api.js').Job} job one whose status has just changed */
function onStatus(job) {
  const title = titleOf(job);
  if (job.status === 'done') {
    const play = asked.has(job.id) && byId('play-new').checked && !player.isPlaying;
    announce(play ? `${title} plays.` : `${title} is ready. Space plays it.`);
    if (!player.isPlaying) player.load(job, { play });
  }
  if (job.status === 'failed') notice(`${title} failed: ${job.error}`);
  if (job.status === 'cancelled') announce(`${title} is cancelled.`);
}

function showHealth(health) {
  const games = `${health.games.length} ${health.games.length === 1 ? 'game' : 'games'}`;
  const rate = health.sample_rate ? ` · ${health.sample_rate / 1000} kHz` : '';
  const texts = {
    ready: `${health.model} · ${games}${rate}`,
    loading: `${health.model} is loading …`,
    failed: `The model cannot be loaded: ${health.message}`,
    lost: 'The server does not answer; trying again …',
  };
  byId('model-line').dataset.status = health.status;
  setText(byId('model-text'), texts[health.status] ?? health.status);
  byId('model-line').title = texts[health.status] ?? '';
  byId('training-curves').hidden = health.shipped; // which has no runs
  byId('train-own').hidden = !health.shipped;
  setText(byId('tensorboard'), `tensorboard --logdir ${health.model_folder}`);
  const details = { Folder: health.model_folder, Games: games, Fingerprint: health.fingerprint ?? '…', Clips: health.output_folder };
  byId('model-details').replaceChildren(...Object.entries(details).flatMap(([term, text]) => [el('dt', {}, term), el('dd', {}, text)]));
}

function showHelp() {
  byId('help').showModal();
}

start().catch((error) => showFieldError(error));
