/** What lies over the timeline: regions and ends with handles for pointer and keys, and the ruler's ticks. */

import { el } from '../dom.js';
import { LONGEST } from './requests.js';
import { EDITOR as TEXT } from '../texts.js';

const TICK = 80; // CSS pixels between two ticks, at least

/** @typedef {(seconds: number) => number} Share of the width where a moment lies; 0 to 1 is shown */
/** @typedef {(event: KeyboardEvent, edge: string, index: number, at: number) => void} OnKey */

/** @param {import('./timeline.js').Timeline} timeline @param {Share} share @param {OnKey} onKey @returns {HTMLElement[]} */
export function marksOf({ tool, regions, before, after, duration }, share, onKey) {
  const handle = (edge, at, index, label, value) => handleAt(share(at), { edge, index, label, value, onKey: (event) => onKey(event, edge, index, at) });
  if (tool === 'anew') {
    return regions.flatMap(({ start, end }, index) => [
      stretch(share(start), share(end)), handle('start', start, index, TEXT.start(index + 1), start), handle('end', end, index, TEXT.end(index + 1), end),
    ]);
  }
  if (tool !== 'extend') return [];
  return [
    stretch(share(-before), share(0)), stretch(share(duration), share(duration + after)),
    handle('before', -before, 0, TEXT.beforeHandle, before), handle('after', duration + after, 0, TEXT.afterHandle, after),
  ];
}

function stretch(from, to) {
  const element = el('div', { class: 'made' });
  element.style.setProperty('--from', String(from));
  element.style.setProperty('--to', String(to));
  return element;
}

function handleAt(at, { edge, index, label, value, onKey }) {
  const element = el('div', {
    class: `handle ${edge}`, role: 'slider', tabindex: '0', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': LONGEST,
    'aria-valuenow': value.toFixed(2), 'aria-valuetext': `${value.toFixed(2)} s`, 'data-edge': edge, 'data-index': index, 'data-mark': `${edge}-${index}`,
    onkeydown: onKey,
  });
  element.style.setProperty('--at', String(at));
  return element;
}

/** Seconds at round places. @param {number} from @param {number} to @param {number} width CSS pixels */
export function ticks(from, to, width) {
  const rough = ((to - from) / width) * TICK;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((factor) => factor * unit >= rough) ?? 10);
  const found = [];
  for (let tick = Math.ceil(from / step); tick * step <= to; tick += 1) {
    const label = el('span', {}, (tick * step).toFixed(Math.max(0, Math.ceil(-Math.log10(step)))));
    label.style.setProperty('--at', String((tick * step - from) / (to - from)));
    found.push(label);
  }
  return found;
}
