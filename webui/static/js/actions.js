/** What the buttons of queue and history do; every refusal becomes a notice. */

import { call } from './api.js';
import { isActive } from './library.js';
import { titleOf } from './format.js';
import { announce, notice } from './notices.js';

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
  const restore = (id) => change('POST', id, '/restore');
  return {
    ...more,
    cancel: (id) => change('DELETE', id),
    cancelRunning: () => {
      const running = library.active()[0];
      if (running && isActive(running)) change('DELETE', running.id);
    },
    retry: (id) => change('POST', id, '/retry'),
    rename: (id, title) => change('PATCH', id, '', { title }),
    star: (id) => change('PATCH', id, '', { starred: !library.get(id).starred }),
    restore,
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
