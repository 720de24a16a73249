/** Curves of a training as a drawing that grows with its place, and in words for those who do not see it. */

import { el } from '../dom.js';
import { short } from '../format.js';
import { W } from './words.js';

const NS = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 180;

function svg(tag, attributes) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** Where most values lie: the first steps of a training would press all others flat. */
function range(series) {
  const values = series.flatMap((points) => points.map((point) => point[1])).sort((a, b) => a - b);
  if (!values.length) return [0, 1];
  const low = values[0];
  const high = values[Math.floor((values.length - 1) * (values.length > 20 ? 0.95 : 1))];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}

/** The validation that ended lowest, or the only one. */
function best(validation) {
  const all = Object.values(validation).filter((points) => points.length);
  return all.sort((a, b) => a.at(-1)[1] - b.at(-1)[1])[0] ?? [];
}

/**
 * @param {{loss: number[][], validation: Record<string, number[][]>, total: ?number, samples: number}} curves
 * @param {string} title
 * @returns {HTMLElement}
 */
export function chart(curves, title) {
  const validation = best(curves.validation);
  const series = [curves.loss, validation];
  const [low, high] = range(series);
  const end = Math.max(curves.total ?? 0, curves.samples, 1);
  const place = ([samples, value]) => {
    const y = 1 - (Math.min(Math.max(value, low), high) - low) / (high - low);
    return `${((samples / end) * WIDTH).toFixed(1)},${(6 + y * (HEIGHT - 12)).toFixed(1)}`;
  };
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'curves', preserveAspectRatio: 'none', role: 'img' });
  for (const share of [0, 0.5, 1]) drawing.append(svg('line', { x1: 0, x2: WIDTH, y1: 6 + share * (HEIGHT - 12), y2: 6 + share * (HEIGHT - 12), class: 'grid' }));
  series.forEach((points, number) => {
    if (!points.length) return;
    const kind = number ? 'validation' : 'loss';
    if (points.length > 1) drawing.append(svg('polyline', { points: points.map(place).join(' '), class: `curve ${kind}` }));
    if (points.length < 12) for (const point of points) drawing.append(svg('ellipse', { cx: place(point).split(',')[0], cy: place(point).split(',')[1], rx: 3, ry: 3, class: `dot ${kind}` }));
  });
  const last = (points) => (points.length ? short(points.at(-1)[1]) : '–');
  const words = `${title}: ${W.samples(curves.samples, curves.total)}; ${W.training} ${last(curves.loss)}, ${W.validation} ${last(validation)}`;
  drawing.setAttribute('aria-label', words);
  const key = (kind, text, points) => el('span', { class: `key ${kind}` }, `${text} ${last(points)}`);
  return el('figure', { class: 'chart' },
    el('figcaption', {}, el('strong', {}, title), key('loss', W.training, curves.loss), key('validation', W.validation, validation)),
    el('div', { class: 'chart-body' }, el('span', { class: 'chart-high' }, short(high)), el('span', { class: 'chart-low' }, short(low)), drawing),
    el('p', { class: 'chart-foot' }, W.samples(curves.samples, curves.total)));
}
