/** Taking clips home: one in another format or level, or several as a zip. Anything may ask for it by an event. */

import { address } from '../address.js';
import { byId, setText } from '../dom.js';
import { titleOf } from '../format.js';
import { isRecord, remember, remembered } from '../storage.js';
import { ACTIONS } from '../texts.js';

/** Clips of one zip, as webui/exchange/downloads.py has it. */
export const MOST = 200;
const WITH_LOOPS = new Set(['flac', 'wav', 'ogg']);

/**
 * Opens the dialog; `document.dispatchEvent(new CustomEvent('take-home', { detail: jobs }))` does so from elsewhere.
 * @param {import('../api.js').Job[]} jobs finished ones
 */
function takeHome(jobs) {
  if (!jobs.length) return;
  const dialog = byId('take-home');
  dialog.jobs = jobs;
  setText(byId('take-home-what'), jobs.length === 1 ? titleOf(jobs[0]) : ACTIONS.zip(jobs.length));
  show();
  dialog.showModal();
}

export function initTakeHome() {
  const saved = remembered('take-home', {}, isRecord);
  const fields = { format: byId('take-home-format'), loudness: byId('take-home-loudness') };
  for (const [name, field] of Object.entries(fields)) {
    if (typeof saved[name] === 'string' && [...field.options].some((option) => option.value === saved[name])) field.value = saved[name];
    field.onchange = () => {
      remember('take-home', { format: fields.format.value, loudness: fields.loudness.value });
      show();
    };
  }
  byId('take-home-loop').onchange = show;
  byId('take-home-go').onclick = () => setTimeout(() => byId('take-home').close(), 0);
  document.addEventListener('take-home', (event) => takeHome(/** @type {CustomEvent} */ (event).detail));
}

/** Puts the address of what was chosen into the link. */
function show() {
  const { jobs } = byId('take-home');
  const format = byId('take-home-format').value;
  const loudness = byId('take-home-loudness').value;
  byId('take-home-loop-row').hidden = !WITH_LOOPS.has(format) || !jobs.some(mayLoop);
  const query = new URLSearchParams({ format, ...(loudness ? { loudness } : {}), ...(byId('take-home-loop').checked ? {} : { loop: 'false' }) });
  const path = jobs.length === 1 ? `/api/jobs/${jobs[0].id}/download` : '/api/download';
  if (jobs.length > 1) query.set('ids', jobs.map((job) => job.id).join(','));
  byId('take-home-go').href = `${address(path)}?${query}`;
}

/** A loop, or what may be one with an intro. */
const mayLoop = ({ request }) => request.loop === true || (request.extend_before > 0 && Boolean(request.source?.job));
