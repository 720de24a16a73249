/** The second view, "New generator": switches between it and playing, and keeps it up to date while it is looked at. */

import { call } from '../api.js';
import { byId, el } from '../dom.js';
import { TurnBanner } from './turn.js';
import { LEARN as TEXT, SERVER, STATUS } from '../texts.js';

const BUSY = 2_000; // ms between questions while something is made and looked at
const IDLE = 8_000;
const SETTLED = 3_000; // ms until the page has what it plays with
const CURVES = 3; // every so many questions also for curves and demos

const place = byId('learn');
const banner = new TurnBanner();
const tabs = el('nav', { class: 'generators', 'aria-label': TEXT.generators });
const body = el('div');
const lost = el('p', { class: 'soft lost', role: 'status' });
/** @type {?import('./generator.js').GeneratorView} */
let view = null;
let shown = ''; // which generator, a form for a new one, or nothing yet
let timer = 0;
let asks = 0;
let newest = 0; // number of the last question for everything
let drawnTabs = '';

/** @type {?ReturnType<typeof readParts>} */
let parts = null;
const readParts = () => Promise.all([import('./generator.js'), import('./wizard.js'), import('./bin.js')]);

/** What this view is made of: read soon after the page, as a server that was brought up to date meanwhile has others. */
function partsOfView() {
  parts ??= readParts().catch((error) => {
    parts = null; // the next look tries again
    throw error;
  });
  return parts;
}

const isLearning = () => location.hash.startsWith('#learn');
/** The generator that the address names; "" for a new one, also where somebody typed what is no address. */
function named() {
  try {
    return decodeURIComponent(location.hash.split('/')[1] ?? '');
  } catch {
    return '';
  }
}

function switchView() {
  const learning = isLearning();
  place.hidden = !learning;
  byId('desk').hidden = learning;
  for (const link of document.querySelectorAll('.views a')) {
    if (link.getAttribute('href') === (learning ? '#learn' : '#play')) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  const asked = (newest += 1);
  let busy = false;
  let watched = true; // where nothing was ever made, a page that plays has nothing to ask for
  try {
    const overview = await call('GET', '/api/learn');
    if (asked !== newest) return; // it may tell of one that was removed meanwhile
    const working = overview.generators.find((each) => each.status === 'running');
    busy = Boolean(working);
    watched = isLearning() || overview.generators.length > 0;
    banner.show(overview.turn, working ?? null, refresh);
    if (isLearning()) await showLearning(overview, asked);
    lost.textContent = '';
  } catch (error) {
    if (asked !== newest) return;
    lost.textContent = error.status === 0 ? SERVER.away : error.message;
  }
  clearTimeout(timer);
  if (watched) timer = setTimeout(refresh, busy && !document.hidden ? BUSY : IDLE);
}

async function showLearning(overview, asked) {
  const [{ GeneratorView }, { Wizard }, { Bin }] = await partsOfView();
  if (asked !== newest) return; // asked again while they were read
  drawTabs(overview.generators);
  const known = overview.generators.find((each) => each.name === named());
  // A form for a new one is of the folders that the server was started with.
  const wanted = known ? `of ${known.name}` : `new ${JSON.stringify(overview.roots)}`;
  if (wanted !== shown) {
    shown = wanted;
    asks = 0;
    view = known ? attended(new GeneratorView(known)) : null;
    body.replaceChildren(...view ? [view.element] : [newGenerator(overview, Wizard), binOf(Bin)]);
  }
  if (view) {
    await view.refresh(asks % CURVES === 0);
    asks += 1;
  }
}

/** Follows what is done to a generator. @param {import('./generator.js').GeneratorView} made */
function attended(made) {
  const { heading } = made;
  heading.addEventListener('change', refresh);
  heading.addEventListener('remove', () => {
    if (named() !== heading.name) return refresh();
    location.replace('#learn'); // going back must not lead to what is gone
    return place.focus();
  });
  heading.addEventListener('restore', () => {
    if (isLearning()) {
      location.hash = `#learn/${heading.name}`;
      place.focus();
    }
    refresh();
  });
  return made;
}

/** @param {any} overview see /api/learn @param {typeof import('./wizard.js').Wizard} Wizard */
function newGenerator(overview, Wizard) {
  if (!overview.roots.length) return el('section', { class: 'learn-card' }, el('p', {}, TEXT.noRoots), el('code', {}, TEXT.noRootsCommand));
  const wizard = new Wizard(overview.roots, (name) => { location.hash = `#learn/${name}`; });
  return wizard.element;
}

/** @param {typeof import('./bin.js').Bin} Bin */
function binOf(Bin) {
  const bin = new Bin((name) => { location.hash = `#learn/${name}`; });
  bin.refresh().catch(() => {}); // read again when the view is opened again
  return bin.element;
}

function drawTabs(generators) {
  const key = JSON.stringify([generators.map((each) => [each.name, each.label, each.status]), named()]);
  if (key === drawnTabs) return;
  drawnTabs = key;
  const links = generators.map((each) => el('a', { href: `#learn/${each.name}`, class: 'chip', title: STATUS[each.status] ?? each.status, 'data-status': each.status, 'aria-current': each.name === named() ? 'page' : undefined }, each.label));
  tabs.replaceChildren(el('a', { href: '#learn', class: 'chip', 'aria-current': named() ? undefined : 'page' }, TEXT.newTab), ...links);
  tabs.hidden = !generators.length;
}

// Shortcuts of the instrument mean nothing here: Escape would cancel a clip that one does not see. In a field that is
// typed in, it is for that field.
window.addEventListener('keydown', (event) => {
  const isTyping = /** @type {HTMLElement} */ (event.target).matches('.title-input');
  const isShortcut = (event.key === 'Escape' && !isTyping) || (event.key === 'Enter' && (event.ctrlKey || event.metaKey));
  if (isLearning() && isShortcut && !document.querySelector('dialog[open]')) event.stopImmediatePropagation();
}, true);

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault(); // the address says which view and which clip is open: it stays
  byId(isLearning() ? 'learn' : 'stage').focus();
});

place.append(el('h2', { class: 'hidden-text' }, TEXT.newGenerator), tabs, lost, body);
place.before(banner.element);
addEventListener('hashchange', switchView);
document.addEventListener('visibilitychange', () => document.hidden || refresh());
switchView();
setTimeout(() => partsOfView().catch(() => {}), SETTLED);
