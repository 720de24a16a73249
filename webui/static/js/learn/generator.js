/** One generator in the making: its stages, what can be done now, and what there is to see and hear. */

import { address } from '../address.js';
import { call } from '../api.js';
import { chart } from '../chart.js';
import { el, keepFocus, reconcile, refill, setText } from '../dom.js';
import { announce } from '../notices.js';
import { Heading } from './heading.js';
import { summaryOf } from './summary.js';
import { CHART, LEARN as TEXT, MODULES, STAGES, STAGE_STATUS, STATUS, endText, leftText } from '../texts.js';

const MARKS = { waiting: '○', running: '◐', done: '●', paused: '◌', failed: '✕' };

export class GeneratorView {
  #head = el('p', { class: 'generator-status', role: 'status' });
  #error = el('p', { class: 'field-error', role: 'alert' });
  #actions = el('div', { class: 'actions' });
  #note = el('div', { class: 'soft' });
  #command = el('p', { class: 'soft' }); // that plays it, once it was asked for
  #stages = el('ol', { class: 'stages' });
  #report = el('div');
  #charts = el('div', { class: 'charts' });
  #demos = el('div');
  #log = el('pre', { class: 'log', tabindex: '0' });
  #shown = { status: '', buttons: '', report: 0, curves: '' };
  #logStage = 'prepare';
  #problem = ''; // of the last action
  #failure = ''; // of the generator itself

  /** @param {{name: string, label: string}} generator */
  constructor(generator) {
    this.base = `/api/learn/generators/${generator.name}`;
    this.heading = new Heading(generator);
    this.heading.addEventListener('problem', (event) => this.#tell(/** @type {CustomEvent} */ (event).detail));
    const log = el('details', { class: 'learn-card log-card' }, el('summary', {}, TEXT.log), this.#log);
    log.addEventListener('toggle', () => this.#readLog(log).catch((error) => setText(this.#log, error.message)));
    this.log = /** @type {HTMLDetailsElement} */ (log);
    this.curvesCard = el('section', { class: 'learn-card', hidden: true }, el('h2', {}, TEXT.curves), this.#charts);
    this.demosCard = el('section', { class: 'learn-card', hidden: true }, el('h2', {}, TEXT.demos), this.#demos);
    this.reportCard = el('section', { class: 'learn-card', hidden: true }, el('h2', {}, TEXT.report), this.#report);
    this.element = el('article', { class: 'generator' },
      el('section', { class: 'learn-card' }, this.heading.element, this.#head, this.#error, this.#stages, this.#note, this.#command, this.#actions),
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
    const status = state.stopping ? TEXT.stopping : state.starting ? TEXT.starting : now ? `${STAGES[now.name].title}${left}` : STATUS[state.status] ?? state.status;
    setText(this.#head, status);
    this.heading.show(state.label);
    if (this.#shown.status && this.#shown.status !== state.status) {
      announce(`${state.label}: ${STATUS[state.status]}`);
      this.#problem = ''; // it was refused in another state
    }
    this.#shown.status = state.status;
    this.#failure = state.status === 'failed' && state.error ? state.error : '';
    this.#showError();
    reconcile(this.#stages, state.stages, { key: (stage) => stage.name, create: createStage, update: updateStage });
    this.#showNote(state);
    this.#showActions(state);
  }

  #tell(problem) {
    this.#problem = problem;
    this.#showError();
  }

  #showError() {
    setText(this.#error, this.#problem || this.#failure);
  }

  #showNote(state) {
    const texts = [];
    if (state.status === 'interrupted') texts.push(TEXT.interruptedHelp);
    if (state.status === 'prepared') texts.push(TEXT.nextTrain);
    setText(this.#note, texts.join(' '));
  }

  #showActions(state) {
    const prepared = state.stages[0].status === 'done';
    const complete = state.stages.every((stage) => stage.status === 'done');
    const buttons = [];
    if (state.status === 'running') {
      if (!state.stopping) buttons.push(['pause', TEXT.pause], ['stop', TEXT.stop]);
    } else {
      const again = { paused: TEXT.resume, stopped: TEXT.resume, interrupted: TEXT.resume, failed: TEXT.resume }[state.status];
      if (state.playable && (complete || again)) buttons.push(['play', TEXT.play]);
      if (!complete) buttons.push(prepared ? ['train', again && state.last !== 'prepare' ? again : TEXT.train] : ['prepare', again ?? TEXT.prepare]);
      if (prepared && state.status !== 'interrupted') buttons.push(['prepare', TEXT.prepareAgain]);
    }
    const key = JSON.stringify(buttons);
    if (key === this.#shown.buttons) return;
    this.#shown.buttons = key;
    refill(this.#actions, ...buttons.map(([what, text], number) => el('button', {
      type: 'button', class: number === 0 && what !== 'pause' ? 'generate' : 'chip strong', id: `learn-${what}-${number}`, 'data-what': what, onclick: () => this.#act(what),
    }, text)));
  }

  async #act(what) {
    const giveBack = keepFocus(this.#actions); // a button that cannot be pressed loses it
    for (const button of this.#actions.querySelectorAll('button')) button.disabled = true;
    this.#problem = '';
    this.#command.replaceChildren();
    try {
      const answer = await call('POST', `${this.base}/${what}`);
      if (what === 'play') this.#showPlay(answer);
      else this.#show(answer);
      this.heading.dispatchEvent(new CustomEvent('change')); // something is at work now, or no more: looked at often
    } catch (error) {
      this.#problem = error.message;
    }
    for (const button of this.#actions.querySelectorAll('button')) button.disabled = false;
    giveBack();
    this.#showError();
  }

  #showPlay(answer) {
    if (answer.opened) {
      announce(TEXT.opened);
      location.hash = '#play';
      return;
    }
    this.#command.replaceChildren(TEXT.start, ' ', el('code', {}, answer.command));
  }

  async #readCurves() {
    const curves = await call('GET', `${this.base}/curves`);
    const key = JSON.stringify(Object.values(curves).map((each) => [each.samples, each.loss.length]));
    if (key === this.#shown.curves) return;
    this.#shown.curves = key;
    const drawn = ['vae', 'unet'].filter((name) => curves[name]).map((name) => chartOf(MODULES[name], curves[name]));
    this.#charts.replaceChildren(...drawn);
    this.curvesCard.hidden = !drawn.length;
  }

  async #readDemos() {
    const demos = await call('GET', `${this.base}/demos`);
    const all = ['unet', 'vae'].flatMap((module) => (demos[module] ?? []).map((demo) => ({ ...demo, module })));
    this.demosCard.hidden = false;
    if (!all.length) {
      this.#demos.replaceChildren(el('p', { class: 'soft' }, TEXT.noDemos));
      return;
    }
    if (!this.#demos.querySelector('ul')) this.#demos.replaceChildren(el('ul', { class: 'demos' }));
    reconcile(this.#demos.querySelector('ul'), all, { key: (demo) => `${demo.module}-${demo.id}`, create: (demo) => this.#demo(demo), update: () => {} });
  }

  #demo(demo) {
    const label = TEXT.demo(demo.module, demo.name);
    const sound = el('audio', { controls: true, preload: 'none', src: address(`${this.base}/demos/${demo.module}/${demo.id}`), 'aria-label': `${label}, ${TEXT.atSamples(demo.samples)}` });
    sound.addEventListener('play', () => {
      for (const other of document.querySelectorAll('.demos audio')) if (other !== sound) /** @type {HTMLAudioElement} */ (other).pause();
    });
    return el('li', {}, el('span', { class: 'demo-name' }, label, el('span', { class: 'soft' }, ` ${TEXT.atSamples(demo.samples)}`)), sound);
  }

  async #readReport(prepared) {
    const report = await call('GET', `${this.base}/report`);
    this.#shown.report = prepared;
    const whole = el('a', { href: address(`${this.base}/report.html`), target: '_blank', rel: 'noopener' }, TEXT.wholeReport);
    this.#report.replaceChildren(summaryOf(report, TEXT.refusedDone), el('p', {}, whole));
    this.reportCard.hidden = false;
  }

  async #readLog(details) {
    if (!details.open) return;
    const { text } = await call('GET', `${this.base}/log?stage=${this.#logStage}`);
    setText(this.#log, text.trim() || '…');
  }
}

/** The loss, and the validation that ended lowest or is the only one. */
function chartOf(title, { loss, validation, samples, total }) {
  const all = Object.values(validation).filter((points) => points.length).sort((a, b) => a.at(-1)[1] - b.at(-1)[1]);
  return chart(title, [{ name: CHART.training, points: loss }, { name: CHART.validation(), points: all[0] ?? [] }], { seen: samples, total });
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
  const took = stage.seconds > 1 ? `, ${TEXT.took(stage.seconds)}` : '';
  setText(row.querySelector('.stage-state'), (STAGE_STATUS[stage.status] ?? stage.status) + took);
  const bar = row.querySelector('progress');
  bar.hidden = !['running', 'paused'].includes(stage.status);
  if (stage.fraction === null) bar.removeAttribute('value');
  else bar.value = stage.fraction;
  const steps = (stage.steps ?? []).filter((step) => step.status === 'running').map((step) => TEXT.step(step));
  const parts = [steps[0] ?? stage.text, stage.status === 'running' ? leftText(stage.left) : '', stage.killed ? TEXT.killed(stage.killed) : ''];
  setText(row.querySelector('.stage-text'), parts.filter(Boolean).join(' · '));
}
