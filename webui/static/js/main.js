/** Starts the page and connects its parts. */

import { makeActions } from './actions.js';
import { call, readHealth } from './api.js';
import { setGames } from './colours.js';
import { Connection } from './connection.js';
import { byId } from './dom.js';
import { predictedSeconds } from './estimate.js';
import { titleOf } from './format.js';
import { initTakeHome } from './exchange/take_home.js';
import { showHealth, showLost } from './health.js';
import { HistoryView } from './history.js';
import { initDecimals, initKeyboard } from './keyboard.js';
import { Library } from './library.js';
import { announce, clearFieldErrors, notice, showFieldError } from './notices.js';
import { Player } from './player.js';
import { QueueView } from './queue.js';
import { randomKey } from './random.js';
import { isSwitch, remember, remembered } from './storage.js';
import { ACTIONS, PANEL } from './texts.js';

const library = new Library();
const player = new Player();
/** Jobs that this page asked for: only these play by themselves. @type {Set<string>} */
const asked = new Set();

const predict = (request) => predictedSeconds(library.history(), request);
/** Resolved once everything is connected: clips are seen, and asked something of, before. */
let connected = () => {};
const ready = new Promise((resolve) => { connected = resolve; });
const actions = makeActions(library, player, async (request) => { await ready; return panel.apply(request); }, {
  edit: async (id) => { await ready; editor.open(id); },
  compare: async (id) => { await ready; compare.toggle(library.get(id)); },
});
const queue = new QueueView(library, { cancel: actions.cancel, cancelAll: (ids) => actions.batch(ids, 'cancel'), predict });
const history = new HistoryView(library, player, actions);
/** @type {import('./panel.js').Panel} */
let panel;
/** @type {import('./presets/presets.js').Presets} */
let presets;
/** @type {import('./editor/compare.js').Compare} */
let compare;
/** @type {import('./editor/editor.js').Editor} */
let editor;
/** Of the model that the instrument fits; see /api/health. @type {?string} */
let revision = null;
/** @type {Promise<void>} */
let fitting = Promise.resolve();

/** Waits for a server and a model, then connects everything; both may change later. */
async function start() {
  initTakeHome();
  player.addEventListener('broken', (event) => onBroken(/** @type {CustomEvent} */ (event).detail.id));
  let health;
  let parts;
  for (;;) {
    try {
      health = await readHealth();
      setGames(health.games);
      await library.reload().catch(() => {}); // what can be seen first; it is read again once events come
      parts = await import('./parts.js');
      panel ??= new parts.Panel(predict);
      await fit(health);
      break;
    } catch (error) {
      showLost(error);
      await new Promise((resolve) => { setTimeout(resolve, 2000); });
    }
  }
  showHealth(health);
  connectControls(parts);
  connected();
  const connection = new Connection({
    onEvent: (event) => {
      if (event.type === 'health') onHealth(event.health);
      else if (event.type === 'presets') presets.reload().catch(() => {}); // read again with the next event
      else library.take(event);
    },
    onConnected: () => Promise.all([library.reload(), player.check(), presets.reload()]),
    ask: async () => {
      onHealth(await readHealth());
      await library.reload();
      if (player.isCut) await player.check();
      return library.active().length > 0;
    },
    onLost: showLost,
  });
  library.addEventListener('asked', () => connection.hurry());
}

/** Fits the page to the model that answers. */
async function fit(health) {
  const [options, schema] = await Promise.all([call('GET', '/api/options'), call('GET', '/api/schema')]);
  setGames(health.games);
  await panel.adopt(health, { ...options, schema });
  revision = health.revision;
}

function onHealth(health) {
  showHealth(health);
  fitting = fitting.then(async () => {
    if (health.revision === revision) return;
    await fit(health);
    queue.repaint();
    history.repaint();
    await player.check();
  }).catch(() => {}); // the server went away meanwhile, and tells its health again when it is back
}

/** @param {typeof import('./parts.js')} parts */
function connectControls(parts) {
  presets = new parts.Presets(panel);
  compare = new parts.Compare(player, library);
  editor = new parts.Editor({ player, library, compare, instrument: () => panel.request });
  new parts.ModelsView(onHealth);
  const generate = makeGenerate(() => history.showNew());
  const playNew = /** @type {HTMLInputElement} */ (byId('play-new'));
  playNew.checked = remembered('play-new', true, isSwitch);
  playNew.onchange = () => remember('play-new', playNew.checked);
  byId('instrument').addEventListener('submit', (event) => {
    event.preventDefault();
    generate();
  });
  editor.begin();
  initDecimals();
  new parts.BringIn(panel);
  new parts.GridDialog(panel, new parts.ContactSheet(library, player));
  initKeyboard({ generate, toggle: () => player.toggle(), cancel: actions.cancelRunning, help: showHelp, choose: (number) => compare.choose(number) });
  byId('help-button').onclick = showHelp;
  library.addEventListener('status', (event) => onStatus(/** @type {CustomEvent} */ (event).detail.job));
  library.addEventListener('change', () => panel.showEstimate());
  library.addEventListener('change', () => {
    const job = library.get(player.job?.id);
    if (job && titleOf(job) !== titleOf(player.job)) player.refresh(job); // renamed, perhaps in another tab
  });
  setInterval(() => history.render(), 60_000); // "2 min ago" becomes "3 min ago"
}

/** Returns what the Generate button does; pressing twice by accident asks once. */
function makeGenerate(showHistory) {
  const button = byId('generate');
  let isAsking = false;
  let lastTold = ''; // what changes nothing is told once
  // The server answers between the two clicks of a double click, so that waiting for it does not suffice.
  button.addEventListener('click', (event) => event.detail > 1 && event.preventDefault());
  return async () => {
    if (isAsking) return;
    isAsking = true;
    button.setAttribute('aria-busy', 'true');
    clearFieldErrors();
    try {
      const { id, notes = [] } = await call('POST', '/api/jobs', { body: panel.request, headers: { 'Idempotency-Key': randomKey() } });
      asked.add(id);
      panel.advanceSeed();
      await library.expect(id);
      showHistory();
      announce(PANEL.generating);
      const told = notes.join('; ');
      if (told && told !== lastTold) notice(PANEL.withoutEffect(told));
      lastTold = told;
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
    // What somebody has paused, or never asked this page for, is not replaced.
    const fits = play || (asked.has(job.id) && !player.job);
    announce(play ? ACTIONS.plays(title) : ACTIONS.ready(title, fits));
    if (fits) player.load(job, { play });
  }
  if (job.status === 'failed') notice(ACTIONS.failed(title, job.error));
  if (job.status === 'cancelled') announce(ACTIONS.cancelled(title));
}

/** @param {string} id of a clip that stopped to be read */
async function onBroken(id) {
  try {
    await call('GET', `/api/jobs/${id}`);
  } catch (error) {
    if (error.status === 404) return player.drop(id);
    player.isCut = true; // the server is away, which the top line tells; the clip goes on when it is back
    return undefined;
  }
  notice(ACTIONS.unplayable);
  return library.reload().catch(() => {});
}

function showHelp() {
  byId('help').showModal();
}

start();
