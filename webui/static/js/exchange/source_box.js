/** What a clip starts from: its name, how it sounds, and a way back to nothing but noise. */

import { address } from '../address.js';
import { byId, setText } from '../dom.js';

const NOTHING = 'Nothing but noise. Bring in a file, or drop one anywhere, to start from it.';
/** What goes with a source, as it is without one. */
const WITHOUT = { source: null, inpaint: [], extend_before: 0, extend_after: 0 };

export class SourceBox {
  /** @param {(fields: any) => void} set fields of the request */
  constructor(set) {
    this.set = set;
    byId('source-remove').onclick = () => set(WITHOUT);
  }

  /** Makes an upload the source. @param {{id: string, name: string}} upload */
  take({ id, name }) {
    this.set({ ...WITHOUT, loop: false, source: { upload: id, start: 0, seconds: null, strength: null, label: name } });
    byId('more').open = true;
    byId('group-source').open = true;
  }

  /** @param {any} source of the request, with its `label` */
  show(source) {
    const path = source?.upload ? `/api/uploads/${source.upload}/audio` : source?.job ? `/api/jobs/${source.job}/audio` : null;
    setText(byId('source-name'), path ? `Starts from ${source.label ?? (source.job ? 'a clip of the history' : 'a file that was brought in')}.` : NOTHING);
    byId('source-remove').hidden = !path;
    const audio = byId('source-audio');
    audio.hidden = !path;
    const wanted = path ? address(path) : '';
    if (audio.dataset.source === wanted) return;
    audio.dataset.source = wanted;
    if (wanted) audio.src = wanted;
    else audio.removeAttribute('src');
  }
}
