/** Training curves at a glance: the losses of one run over the samples that it has seen. */

import { el } from '../dom.js';
import { short } from '../format.js';

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [600, 150];

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

const named = (name) => (name.startsWith('validation/') ? `validation, ${name.split('/')[1]}` : 'training');

/**
 * @param {string} run such as `unet`
 * @param {Record<string, number[][]>} curves by metric, [samples, value] pairs
 */
export function runFigure(run, curves) {
  const all = Object.entries(curves).filter(([, points]) => points.length > 1);
  if (!all.length) return null;
  const last = Math.max(...all.flatMap(([, points]) => points.map(([samples]) => samples)));
  // The first steps are often far above all others, which would lie on one line then.
  const values = all.flatMap(([, points]) => points.map(([, value]) => value)).sort((a, b) => a - b);
  const [low, high] = [values[0], values[Math.floor((values.length - 1) * 0.98)]];
  const x = (samples) => (samples / Math.max(last, 1)) * WIDTH;
  const y = (value) => HEIGHT - 4 - ((Math.min(value, high) - low) / Math.max(high - low, 1e-9)) * (HEIGHT - 8);
  const svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', class: 'curves', role: 'img' });
  svg.setAttribute('aria-label', `${run}: ${all.map(([name, points]) => `${named(name)} from ${short(points[0][1])} to ${short(points.at(-1)[1])}`).join('; ')}`);
  const legend = all.map(([name, points], place) => {
    const path = points.map(([samples, value], index) => `${index ? 'L' : 'M'}${x(samples).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    svg.append(shape('path', { d: path, class: `curve curve-${place % 4}` }));
    return el('li', { class: `curve-${place % 4}` }, `${named(name)}: ${short(points.at(-1)[1])}`);
  });
  return el('figure', { class: 'run' },
    el('figcaption', {}, el('strong', {}, run), ` ${last.toLocaleString('en')} samples; loss from ${short(high)} down to ${short(low)}`),
    svg, el('ul', { class: 'curve-legend' }, ...legend));
}
