/** What the buttons of queue and history do; every refusal becomes a notice. */

import { address } from './address.js';
import { call } from './api.js';
import { confirmed } from './confirm.js';
import { byId } from './dom.js';
import { MOST } from './exchange/take_home.js';
import { titleOf } from './format.js';
import { isActive } from './library.js';
import { announce, notice } from './notices.js';
import { ACTIONS as TEXT, UNDO } from './texts.js';

/**
 * @param {import('./library.js').Library} library
 * @param {import('./player.js').Player} player
 * @param {(request: import('./api.js').Request) => Promise<void>} applySettings
 * @param {{edit: (id: string) => void, compare: (id: string) => void}} more
 */
export function makeActions(library, player, applySettings, more) {
  const change = async (method, id, path = '', body = undefined) => {
    try {
      const job = await call(method, `/api/jobs/${id}${path}`, { body });
      library.put(job);
      player.refresh(job);
      return job;
    } catch (error) {
      notice(error.message);
      return null;
    }
  };
  const attempt = async (work) => {
    try {
      return await work();
    } catch (error) {
      notice(error.message);
      return null;
    }
  };
  const batch = async (ids, action) => {
    if (action === 'delete' && !(await confirmed(TEXT.forGood, TEXT.forGoodText(ids.length), TEXT.remove))) return false;
    const answer = await attempt(() => call('POST', '/api/history/batch', { body: { ids, action } }));
    if (!answer) return false;
    if (action === 'bin' || action === 'delete') ids.forEach((id) => player.drop(id));
    const undo = action === 'bin' && { label: UNDO, action: () => batch(answer.changed, 'restore') };
    notice(TEXT.became(answer.changed.length, action), undo || {});
    library.reload().catch(() => {});
    return true;
  };
  const restore = (id) => change('POST', id, '/restore');
  return {
    ...more,
    cancel: (id) => change('DELETE', id),
    cancelRunning: async () => {
      const running = library.active()[0];
      if (!running || !isActive(running) || !(await change('DELETE', running.id))) return;
      notice(TEXT.cancelled(titleOf(running)), { label: TEXT.afterAll, action: () => change('POST', running.id, '/retry') });
    },
    retry: (id) => change('POST', id, '/retry'),
    rename: (id, title) => change('PATCH', id, '', { title }),
    star: (id) => change('PATCH', id, '', { starred: !library.get(id).starred }),
    restore,
    batch,
    emptyBin: async (count) => {
      if (!(await confirmed(TEXT.emptyBin, TEXT.forGoodText(count), TEXT.emptyBinGo))) return;
      const answer = await attempt(() => call('DELETE', '/api/history/bin'));
      if (!answer) return;
      answer.changed.forEach((id) => player.drop(id));
      library.reload().catch(() => {});
    },
    takeIn: async () => {
      const answer = await attempt(() => call('POST', '/api/history/import'));
      if (answer) notice(TEXT.takenIn(answer.added));
    },
    draw: (id) => fetch(address(`/api/jobs/${id}/draw`), { method: 'POST' }).catch(() => {}),
    choices: () => call('GET', '/api/history').catch(() => null),
    note: (id) => {
      const [dialog, field] = [byId('note'), byId('note-text')];
      const before = library.get(id).notes ?? '';
      byId('note-title').textContent = TEXT.notesOn(titleOf(library.get(id)));
      field.value = before;
      dialog.returnValue = '';
      dialog.onclose = () => dialog.returnValue === 'keep' && field.value !== before && change('PATCH', id, '', { notes: field.value });
      dialog.showModal();
    },
    download: async (ids) => {
      if (ids.length > MOST) {
        notice(TEXT.tooMany(MOST, ids.length));
        return;
      }
      const jobs = await Promise.all(ids.map((id) => library.get(id) ?? call('GET', `/api/jobs/${id}`).catch(() => null)));
      document.dispatchEvent(new CustomEvent('take-home', { detail: jobs.filter((job) => job?.audio) }));
    },
    bin: async (id) => {
      const job = await change('POST', id, '/bin');
      if (!job) return;
      player.drop(id);
      notice(TEXT.binned(titleOf(job)), { label: UNDO, action: () => restore(id) });
    },
    reuse: async (id) => {
      try {
        await applySettings(library.get(id).request);
        announce(TEXT.reused);
      } catch (error) {
        notice(error.message);
      }
    },
    play: (id, at) => {
      const job = library.get(id);
      if (!job?.audio) return;
      if (player.job?.id === id && at === undefined) player.toggle();
      else player.load(job, { play: true, at });
    },
  };
}
