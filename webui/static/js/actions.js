/** What the buttons of queue and history do; every refusal becomes a notice. */

import { call } from './api.js';
import { confirmed } from './confirm.js';
import { byId } from './dom.js';
import { isActive } from './library.js';
import { titleOf } from './format.js';
import { announce, notice } from './notices.js';

const clips = (count) => (count === 1 ? 'One clip' : `${count.toLocaleString('en')} clips`);

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
    const told = { bin: 'in the bin', restore: 'back', delete: 'deleted', star: 'starred', unstar: 'without a star', cancel: 'cancelled' }[action];
    if (action === 'delete' && !(await confirmed('Delete for good?', `${clips(ids.length)}, with the audio. This cannot be undone.`, 'Delete'))) return false;
    const answer = await attempt(() => call('POST', '/api/history/batch', { body: { ids, action } }));
    if (!answer) return false;
    if (action === 'bin' || action === 'delete') ids.forEach((id) => player.drop(id));
    const undo = action === 'bin' && { label: 'Undo', action: () => batch(answer.changed, 'restore') };
    notice(`${clips(answer.changed.length)} ${answer.changed.length === 1 ? 'is' : 'are'} ${told}.`, undo || {});
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
      notice(`${titleOf(running)} is cancelled.`, { label: 'Make it after all', action: () => change('POST', running.id, '/retry') });
    },
    retry: (id) => change('POST', id, '/retry'),
    rename: (id, title) => change('PATCH', id, '', { title }),
    star: (id) => change('PATCH', id, '', { starred: !library.get(id).starred }),
    restore,
    batch,
    emptyBin: async (count) => {
      if (!(await confirmed('Empty the bin?', `${clips(count)}, with the audio. This cannot be undone.`, 'Empty the bin'))) return;
      const answer = await attempt(() => call('DELETE', '/api/history/bin'));
      if (!answer) return;
      answer.changed.forEach((id) => player.drop(id));
      library.reload().catch(() => {});
    },
    takeIn: async () => {
      const answer = await attempt(() => call('POST', '/api/history/import'));
      if (answer) notice(answer.added ? `${clips(answer.added)} taken in from the outputs folder.` : 'Nothing new lies in the outputs folder.');
    },
    draw: (id) => fetch(address(`/api/jobs/${id}/draw`), { method: 'POST' }).catch(() => {}),
    choices: () => call('GET', '/api/history').catch(() => null),
    note: (id) => {
      const [dialog, field] = [byId('note'), byId('note-text')];
      const before = library.get(id).notes ?? '';
      byId('note-title').textContent = `Notes on ${titleOf(library.get(id))}`;
      field.value = before;
      dialog.returnValue = '';
      dialog.onclose = () => dialog.returnValue === 'keep' && field.value !== before && change('PATCH', id, '', { notes: field.value });
      dialog.showModal();
    },
    download: async (ids) => {
      const jobs = await Promise.all(ids.map((id) => library.get(id) ?? call('GET', `/api/jobs/${id}`).catch(() => null)));
      document.dispatchEvent(new CustomEvent('take-home', { detail: jobs.filter((job) => job?.audio) }));
    },
    bin: async (id) => {
      const job = await change('POST', id, '/bin');
      if (!job) return;
      player.drop(id);
      notice(`${titleOf(job)} is in the bin.`, { label: 'Undo', action: () => restore(id) });
    },
    reuse: (id) => {
      announce('Settings taken over.');
      applySettings(library.get(id).request).catch((error) => notice(error.message));
    },
    play: (id, at) => {
      const job = library.get(id);
      if (!job?.audio) return;
      if (player.job?.id === id && at === undefined) player.toggle();
      else player.load(job, { play: true, at });
    },
  };
}
