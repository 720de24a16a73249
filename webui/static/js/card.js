/** One item of the history. */

import { address } from './address.js';
import { fillMixBar } from './colours.js';
import { el, setText } from './dom.js';
import { short, titleOf } from './format.js';
import { icon, showPlay } from './icons.js';
import { CARD as TEXT, PLAYER, ago } from './texts.js';
import { editTitle } from './title_editor.js';
import { drawWhenSeen } from './waveform.js';

const LONGEST = 200; // characters of a title

/**
 * @typedef {{play: (id: string, at?: number) => void, reuse: (id: string) => void, star: (id: string) => void,
 *   rename: (id: string, title: string) => void, bin: (id: string) => void, restore: (id: string) => void,
 *   retry: (id: string) => void, edit: (id: string) => void, compare: (id: string) => void, note: (id: string) => void,
 *   takeIn: () => void, draw: (id: string) => void,
 *   batch: (ids: string[], action: string) => Promise<boolean>, emptyBin: (count: number) => void,
 *   download: (ids: string[]) => void, choices: () => Promise<?{games: string[], models: string[]}>}} Actions
 */

/**
 * @param {import('./api.js').Job} job
 * @param {Actions} actions
 * @param {import('./selection.js').Selection} selection
 */
export function createCard(job, actions, selection) {
  const card = el('li', { class: 'card', tabindex: '-1' });
  const bar = el('div', { class: 'mix-bar thin', 'aria-hidden': 'true' });
  fillMixBar(bar, job.request.games);
  card.append(
    job.status === 'done' ? picture(job, actions) : el('p', { class: 'outcome' }),
    el('input', { type: 'checkbox', class: 'choose', onclick: (event) => selection.set(job.id, event.target.checked, event.shiftKey) }),
    el('div', { class: 'card-body' },
      el('div', { class: 'card-head' }, el('h3', { class: 'card-title' }), age(job)),
      bar,
      el('p', { class: 'card-meta' }, ...meta(job)),
      el('p', { class: 'card-error' }),
      el('p', { class: 'card-notes' }),
      el('div', { class: 'card-actions' }, ...buttons(job, actions))),
  );
  return card;
}

/** The place of an item that is being read. */
export function createHole() {
  return el('li', { class: 'card hole', 'aria-busy': 'true' }, el('span', { class: 'hidden-text' }, TEXT.loading));
}

/** Shows whether a card is chosen. @param {import('./selection.js').Selection} selection */
export function showSelected(card, selection) {
  const box = /** @type {?HTMLInputElement} */ (card.querySelector('.choose'));
  if (!box) return;
  box.checked = selection.has(card.dataset.key.split(' ')[0]);
  card.classList.toggle('chosen', box.checked);
}

/** @param {HTMLElement} card @param {import('./api.js').Job} job */
export function updateCard(card, job) {
  const title = titleOf(job);
  setTitled(card.querySelector('.card-title'), title);
  setText(card.querySelector('time'), ago(job.finished ?? job.created));
  setTitled(card.querySelector('.card-error'), job.error ?? '');
  setTitled(card.querySelector('.card-notes'), job.notes ?? '');
  card.querySelector('.choose').setAttribute('aria-label', TEXT.select(title));
  const outcome = card.querySelector('.outcome');
  if (outcome) setText(outcome, TEXT.outcomes[job.status] ?? '');
  card.classList.toggle('missing', job.missing);
  const star = card.querySelector('.star');
  star?.setAttribute('aria-pressed', String(job.starred));
  star?.setAttribute('aria-label', TEXT.starLabel(title));
  const play = /** @type {?HTMLButtonElement} */ (card.querySelector('.card-play'));
  if (play) play.disabled = job.missing;
}

/** Sets text that may be cut short, and the whole of it as a tooltip. */
function setTitled(element, text) {
  setText(element, text);
  if (element.title !== text) element.title = text;
}

/** Shows on the card what the player does. */
export function showPlaying(card, { isCurrent, isPlaying, progress, title }) {
  const play = card.querySelector('.card-play');
  if (!play) return;
  card.classList.toggle('current', isCurrent);
  card.style.setProperty('--progress', String(isCurrent ? progress : 0));
  const pauses = isCurrent && isPlaying;
  showPlay(play, pauses, (pauses ? PLAYER.pause : PLAYER.play)(title));
}

function picture(job, actions) {
  const canvas = el('canvas', { class: 'wave' });
  const image = el('img', { alt: '', loading: 'lazy', class: 'spectrogram' });
  image.addEventListener('error', () => { image.hidden = true; });
  if (job.peaks && job.spectrogram) {
    drawWhenSeen(canvas, job);
    image.setAttribute('src', address(job.spectrogram));
  } else {
    image.hidden = true;
    if (!job.missing) actions.draw(job.id); // after which the card is made anew
  }
  const area = el('div', { class: 'card-picture', title: TEXT.playFromHere }, image, canvas, el('span', { class: 'playhead' }),
    el('button', { type: 'button', class: 'play-button card-play' }));
  area.addEventListener('click', (event) => {
    if (/** @type {HTMLElement} */ (event.target).closest('button')) return actions.play(job.id);
    const { left, width } = area.getBoundingClientRect();
    return actions.play(job.id, Math.min(Math.max((event.clientX - left) / width, 0), 1));
  });
  return area;
}

function meta(job) {
  const { seed, seconds, steps, cfg_scale: guidance, sampler, schedule } = job.request;
  return [
    el('span', {}, TEXT.seconds(short(seconds))),
    el('span', {}, TEXT.seed(seed)),
    el('span', { title: `${sampler}, ${schedule}` }, TEXT.steps(steps)),
    el('span', { title: job.model ? TEXT.madeBy(job.model.replace('shipped:', '')) : '' }, TEXT.guidance(short(guidance))),
  ];
}

function age(job) {
  const time = new Date((job.finished ?? job.created) * 1000);
  return el('time', { datetime: time.toISOString(), title: time.toLocaleString() }, ago(time.getTime() / 1000));
}

function buttons(job, actions) {
  const button = (name, label, action, more = {}) =>
    el('button', { type: 'button', class: `icon-button ${name}`, 'aria-label': label, title: label, onclick: action, ...more }, icon(name));
  const reuse = button('reuse', TEXT.reuse, () => actions.reuse(job.id));
  if (job.binned) return [button('restore', TEXT.restore, () => actions.restore(job.id)), reuse];
  const bin = button('bin', TEXT.bin, () => actions.bin(job.id));
  if (job.status !== 'done') return [button('retry', TEXT.retry, () => actions.retry(job.id)), reuse, bin];
  const download = el('a', { class: 'icon-button download', href: address(`${job.audio ?? ''}?download=1`), download: job.file, 'aria-label': TEXT.download, title: TEXT.download }, icon('download'));
  return [
    button('star', TEXT.star, () => actions.star(job.id), { 'aria-pressed': 'false' }),
    job.missing ? null : button('edit', TEXT.edit, () => actions.edit(job.id)),
    job.missing ? null : button('compare', TEXT.compare, () => actions.compare(job.id), { 'aria-pressed': 'false', 'data-id': job.id }),
    reuse,
    job.missing ? null : download,
    button('note', TEXT.note, () => actions.note(job.id)),
    job.missing ? null : button('export', TEXT.takeHome, () => document.dispatchEvent(new CustomEvent('take-home', { detail: [job] }))),
    button('rename', TEXT.rename, (event) => rename(event.currentTarget.closest('.card'), job.id, actions)),
    bin,
  ].filter(Boolean);
}

function rename(card, id, actions) {
  editTitle(card.querySelector('.card-title'), {
    label: TEXT.name, longest: LONGEST, back: card.querySelector('.rename'), keep: (title) => actions.rename(id, title),
  });
}
