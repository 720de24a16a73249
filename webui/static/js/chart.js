/** The losses of a training as a drawing that grows with its place, and in words for those who do not see it. */

import { el } from './dom.js';
import { short } from './format.js';
import { CHART as TEXT } from './texts.js';

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT, EDGE] = [600, 180, 6];
const COLOURS = 4; // classes line-0 to line-3
const FEW = 12; // points are seen as points below it

/** @typedef {{name: string, points: number[][]}} Series [samples, value] pairs */

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** Where most values lie: the first steps of a training would press all others flat. */
function range(series) {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value)).sort((a, b) => a - b);
  if (!values.length) return [0, 1];
  const low = values[0];
  const high = values[Math.floor((values.length - 1) * (values.length > 20 ? 0.95 : 1))];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}

/** What a series ended at. @param {Series} series */
const last = ({ name, points }) => `${name} ${points.length ? short(points.at(-1)[1]) : '–'}`;

/** A line, and where the points are few, a dot for each. */
function line({ points }, colour, place) {
  const places = points.map(place);
  const drawn = points.length > 1 ? [shape('polyline', { points: places.map((at) => at.join(',')).join(' '), class: `chart-line ${colour}` })] : [];
  const dots = points.length < FEW ? places.map(([cx, cy]) => shape('ellipse', { cx, cy, rx: 3, ry: 3, class: `chart-dot ${colour}` })) : [];
  return [...drawn, ...dots];
}

/**
 * @param {string} title
 * @param {Series[]} series
 * @param {{seen?: number, total?: ?number}} [samples] how many there were, and will be in the end where that is known
 * @returns {HTMLElement}
 */
export function chart(title, series, { seen, total = null } = {}) {
  const [low, high] = range(series);
  const furthest = seen ?? Math.max(0, ...series.map(({ points }) => points.at(-1)?.[0] ?? 0));
  const end = Math.max(total ?? 0, furthest, 1);
  const place = ([samples, value]) => {
    const share = 1 - (Math.min(Math.max(value, low), high) - low) / (high - low);
    return [((samples / end) * WIDTH).toFixed(1), (EDGE + share * (HEIGHT - 2 * EDGE)).toFixed(1)];
  };
  const colour = (number) => `line-${number % COLOURS}`;
  const foot = TEXT.samples(furthest, total);
  const drawing = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'curves', preserveAspectRatio: 'none', role: 'img', 'aria-label': `${title}: ${foot}; ${series.map(last).join(', ')}` });
  for (const share of [0, 0.5, 1]) {
    const y = EDGE + share * (HEIGHT - 2 * EDGE);
    drawing.append(shape('line', { x1: 0, x2: WIDTH, y1: y, y2: y, class: 'chart-grid' }));
  }
  series.forEach((each, number) => drawing.append(...line(each, colour(number), place)));
  return el('figure', { class: 'chart' },
    el('figcaption', {}, el('strong', {}, title), ...series.map((each, number) => el('span', { class: `key ${colour(number)}` }, last(each)))),
    el('div', { class: 'chart-body' }, el('span', { class: 'chart-high' }, short(high)), el('span', { class: 'chart-low' }, short(low)), drawing),
    el('p', { class: 'chart-foot' }, foot));
}
