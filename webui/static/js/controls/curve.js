/** The curve of a schedule: the noise level at each step, and where guidance holds. */

import { call } from '../api.js';
import { setText } from '../dom.js';
import { CONTROLS as TEXT } from '../texts.js';

const WIDTH = 320;
const HEIGHT = 96;
const EDGE = 6;
const PATIENCE = 200; // ms after the last change
const KEYS = ['steps', 'schedule', 'sigma_max', 'sigma_min', 'sigma_end', 'rho'];

export class Curve {
  #asked = '';
  #timer = 0;

  constructor() {
    const template = document.createElement('template');
    template.innerHTML = '<figure class="schedule-curve blank"><svg role="img"><rect class="guided"/><polyline class="levels"/></svg><figcaption></figcaption></figure>';
    this.element = /** @type {HTMLElement} */ (template.content.firstElementChild);
    this.element.querySelector('svg').setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  }

  /** Draws the curve of a request, once it has not changed for a moment. @param {any} request */
  show(request) {
    const asked = JSON.stringify([...KEYS.map((key) => request[key]), request.guidance?.interval]);
    if (asked === this.#asked) return;
    this.#asked = asked;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(request, asked), PATIENCE);
  }

  async #ask(request, asked) {
    try {
      const { levels } = await call('POST', '/api/levels', { body: Object.fromEntries(KEYS.map((key) => [key, request[key]])) });
      if (asked === this.#asked) this.#draw(levels.filter((level) => level > 0), request.guidance?.interval ?? null);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.element.classList.add('blank');
      setText(this.element.querySelector('figcaption'), error.field === 'schedule' ? TEXT.noCurve : error.message);
    }
  }

  /** @param {number[]} levels falling, above 0 @param {?[number, number]} interval of guidance */
  #draw(levels, interval) {
    const [high, low] = [Math.log(levels[0]), Math.log(Math.min(levels.at(-1), levels[0] * 0.999))];
    const y = (level) => EDGE + ((high - Math.log(Math.max(level, 1e-9))) / (high - low)) * (HEIGHT - 2 * EDGE);
    const x = (index) => EDGE + (index / Math.max(levels.length - 1, 1)) * (WIDTH - 2 * EDGE);
    this.element.querySelector('.levels').setAttribute('points', levels.map((level, index) => `${x(index).toFixed(1)},${y(level).toFixed(1)}`).join(' '));
    const clamp = (value) => Math.min(Math.max(value, 0), HEIGHT);
    const [top, bottom] = interval ? [clamp(y(interval[1])), clamp(y(interval[0]))] : [0, HEIGHT];
    const band = this.element.querySelector('.guided');
    for (const [name, value] of Object.entries({ x: 0, y: top, width: WIDTH, height: Math.max(bottom - top, 0) })) band.setAttribute(name, String(value));
    this.element.classList.remove('blank');
    const caption = TEXT.curve(levels.length, round(levels[0]), round(levels.at(-1)), interval);
    setText(this.element.querySelector('figcaption'), caption);
    this.element.querySelector('svg').setAttribute('aria-label', caption);
  }
}

const round = (number) => Number(number.toPrecision(3));
