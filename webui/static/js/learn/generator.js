/** One generator in the making: its stages, what can be done now, and what there is to see and hear. */

import { address } from '../address.js';
import { call } from '../api.js';
import { el, reconcile, setText } from '../dom.js';
import { announce } from '../notices.js';
import { chart } from './chart.js';
import { summaryOf } from './summary.js';
import { STAGES, STAGE_STATUS, STATUS, STEPS, W, endText, leftText } from './words.js';

const MARKS = { waiting: '○', running: '◐', done: '●', paused: '◌', failed: '✕' };

export class GeneratorView {
  #head = el('p', { class: 'generator-status', role: 'status' });
  #error = el('p', { class: 'field-error', role: 'alert' });
  #actions = el('div', { class: 'actions' });
  #note = el('div', { class: 'soft' });
  #stages = el('ol', { class: 'stages' });
  #report = el('div');
  #charts = el('div', { class: 'charts' });
  #demos = el('div');
  #log = el('pre', { class: 'log', tabindex: '0' });
  #shown = { status: '', buttons: '', report: 0, curves: '' };
  #logStage = 'prepare';

  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.base = `/api/learn/generators/${name}`;
    const log = el('details', { class: 'learn-card log-card' }, el('summary', {}, W.log), this.#log);
    log.addEventListener('toggle', () => this.#readLog(log));
    this.log = /** @type {HTMLDetailsElement} */ (log);
    this.curvesCard = el('section', { class: 'learn-card', hidden: true }, el('h2', {}, W.curves), this.#charts);
    this.demosCard = el('section', { class: 'learn-card', hidden: true }, el('h2', {}, W.demos), this.#demos);
    this.reportCard = el('section', { class: 'learn-card', hidden: true }, el('h2', {}, W.report), this.#report);
    this.element = el('article', { class: 'generator' },
      el('section', { class: 'learn-card' }, el('h2', {}, name), this.#head, this.#error, this.#stages, this.#note, this.#actions),
      this.curvesCard, this.demosCard, this.reportCard, log);
  }

  /** Reads how far it is. @param {boolean} everything also curves and demos @returns {Promise<boolean>} whether it is at work */
  async refresh(everything) {
    const state = await call('GET', this.base);
    this.#show(state);
    const begun = state.stages.some((stage) => stage.name === 'vae' && stage.status !== 'waiting');
    if (begun && everything) await Promise.all([this.#readCurves(), this.#readDemos()]);
    const prepared = state.stages[0].ended ?? 0; // when: it may be done again
    if (state.report && prepared !== this.#shown.report) await this.#readReport(prepared);
    if (this.log.open) await this.#readLog(this.log);
    return state.status === 'running';
  }

  #show(state) {
    const now = state.stages.find((stage) => stage.status === 'running');
    this.#logStage = state.stage ?? 'prepare';
    const left = now?.left ? ` · ${leftText(now.left)}, ${endText(now.left)}` : '';
    const status = state.stopping ? W.stopping : state.starting ? W.starting : now ? `${STAGES[now.name].title}${left}` : STATUS[state.status] ?? state.status;
    setText(this.#head, status);
    if (this.#shown.status && this.#shown.status !== state.status) announce(`${this.name}: ${STATUS[state.status]}`);
    this.#shown.status = state.status;
    setText(this.#error, state.status === 'failed' && state.error ? state.error : '');
    reconcile(this.#stages, state.stages, { key: (stage) => stage.name, create: createStage, update: updateStage });
    this.#showMemory(state);
    this.#showActions(state);
  }

  #showMemory(state) {
    const texts = [];
    if (state.status === 'interrupted') texts.push(W.interruptedHelp);
    if (state.status === 'prepared') texts.push(W.nextTrain);
    setText(this.#note, texts.join(' '));
  }

  #showActions(state) {
    const prepared = state.stages[0].status === 'done';
    const complete = state.stages.every((stage) => stage.status === 'done');
    const buttons = [];
    if (state.status === 'running') {
      if (!state.stopping) buttons.push(['pause', W.pause], ['stop', W.stop]);
    } else {
      const again = { paused: W.resume, stopped: W.resume, interrupted: W.resume, failed: W.resume }[state.status];
      if (state.playable && (complete || again)) buttons.push(['play', W.play]);
      if (!complete) buttons.push(prepared ? ['train', again && state.last !== 'prepare' ? again : W.train] : ['prepare', again ?? W.prepare]);
      if (prepared && state.status !== 'interrupted') buttons.push(['prepare', W.prepareAgain]);
    }
    const key = JSON.stringify(buttons);
    if (key === this.#shown.buttons) return;
    this.#shown.buttons = key;
    this.#actions.replaceChildren(...buttons.map(([what, text], number) => el('button', {
      type: 'button', class: number === 0 && what !== 'pause' ? 'generate' : 'chip strong', id: `learn-${what}-${number}`, 'data-what': what, onclick: () => this.#act(what),
    }, text)));
  }

  async #act(what) {
    for (const button of this.#actions.querySelectorAll('button')) button.disabled = true;
    let problem = '';
    try {
      const answer = await call('POST', `${this.base}/${what}`);
      if (what === 'play') this.#showPlay(answer);
      else this.#show(answer);
    } catch (error) {
      problem = error.message;
    }
    for (const button of this.#actions.querySelectorAll('button')) button.disabled = false;
    setText(this.#error, problem);
  }

  #showPlay(answer) {
    if (answer.opened) {
      announce(W.opened);
      location.hash = '#play';
      return;
    }
    this.#note.replaceChildren(el('p', {}, W.start, ' ', el('code', {}, answer.command)));
  }

  async #readCurves() {
    const curves = await call('GET', `${this.base}/curves`);
    const key = JSON.stringify(Object.values(curves).map((each) => [each.samples, each.loss.length]));
    if (key === this.#shown.curves) return;
    this.#shown.curves = key;
    const drawn = ['vae', 'unet'].filter((name) => curves[name]).map((name) => chart(curves[name], name.toUpperCase().replace('UNET', 'UNet')));
    this.#charts.replaceChildren(...drawn);
    this.curvesCard.hidden = !drawn.length;
  }

  async #readDemos() {
    const demos = await call('GET', `${this.base}/demos`);
    const all = ['unet', 'vae'].flatMap((module) => (demos[module] ?? []).map((demo) => ({ ...demo, module })));
    this.demosCard.hidden = false;
    if (!all.length) {
      this.#demos.replaceChildren(el('p', { class: 'soft' }, W.noDemos));
      return;
    }
    if (!this.#demos.querySelector('ul')) this.#demos.replaceChildren(el('ul', { class: 'demos' }));
    reconcile(this.#demos.querySelector('ul'), all, { key: (demo) => `${demo.module}-${demo.id}`, create: (demo) => this.#demo(demo), update: () => {} });
  }

  #demo(demo) {
    const label = `${demo.module === 'vae' ? 'VAE' : 'UNet'} · ${demo.name.replaceAll('/', ' · ')}`;
    const sound = el('audio', { controls: true, preload: 'none', src: address(`${this.base}/demos/${demo.module}/${demo.id}`), 'aria-label': `${label}, ${W.atSamples(demo.samples)}` });
    sound.addEventListener('play', () => {
      for (const other of document.querySelectorAll('.demos audio')) if (other !== sound) /** @type {HTMLAudioElement} */ (other).pause();
    });
    return el('li', {}, el('span', { class: 'demo-name' }, label, el('span', { class: 'soft' }, ` ${W.atSamples(demo.samples)}`)), sound);
  }

  async #readReport(prepared) {
    const report = await call('GET', `${this.base}/report`);
    this.#shown.report = prepared;
    const whole = el('a', { href: address(`${this.base}/report.html`), target: '_blank', rel: 'noopener' }, W.wholeReport);
    this.#report.replaceChildren(summaryOf(report, W.refusedDone), el('p', {}, whole));
    this.reportCard.hidden = false;
  }

  async #readLog(details) {
    if (!details.open) return;
    const { text } = await call('GET', `${this.base}/log?stage=${this.#logStage}`);
    setText(this.#log, text.trim() || '…');
  }
}

function createStage(stage) {
  const { title, why } = STAGES[stage.name];
  return el('li', { class: 'stage-row' }, el('span', { class: 'mark', 'aria-hidden': 'true' }),
    el('div', { class: 'stage-body' }, el('div', { class: 'stage-head' }, el('span', { class: 'stage-title', title: why }, title), el('span', { class: 'stage-state' })),
      el('progress', { max: '1', 'aria-label': title, hidden: true }), el('p', { class: 'stage-text' })));
}

function updateStage(row, stage) {
  row.dataset.status = stage.status;
  setText(row.querySelector('.mark'), MARKS[stage.status] ?? '○');
  const took = stage.seconds > 1 ? `, ${W.took(stage.seconds)}` : '';
  setText(row.querySelector('.stage-state'), (STAGE_STATUS[stage.status] ?? stage.status) + took);
  const bar = row.querySelector('progress');
  bar.hidden = !['running', 'paused'].includes(stage.status);
  if (stage.fraction === null) bar.removeAttribute('value');
  else bar.value = stage.fraction;
  const steps = (stage.steps ?? []).filter((step) => step.status === 'running').map((step) => `${STEPS[step.name] ?? step.name} ${step.done} of ${step.total}`);
  const parts = [steps[0] ?? stage.text, stage.status === 'running' ? leftText(stage.left) : '', stage.killed ? W.killed(stage.killed) : ''];
  setText(row.querySelector('.stage-text'), parts.filter(Boolean).join(' · '));
}
