/** What a clip starts from: its name, how it sounds, and a way back to nothing but noise. */

import { address } from '../address.js';
import { WITHOUT_SOURCE } from '../controls/keys.js';
import { byId, setText } from '../dom.js';
import { SOURCE as TEXT } from '../texts.js';


export class SourceBox {
  /** @param {(fields: any) => void} set fields of the request */
  constructor(set) {
    this.set = set;
    byId('source-remove').onclick = () => set(WITHOUT_SOURCE);
  }

  /** Makes an upload the source. @param {{id: string, name: string}} upload */
  take({ id, name }) {
    this.set({ ...WITHOUT_SOURCE, loop: false, source: { upload: id, start: 0, seconds: null, strength: null, label: name } });
    byId('more').open = true;
    byId('group-source').open = true;
  }

  /** @param {any} source of the request, with its `label` */
  show(source) {
    const path = source?.upload ? `/api/uploads/${source.upload}/audio` : source?.job ? `/api/jobs/${source.job}/audio` : null;
    setText(byId('source-name'), path ? TEXT.startsFrom(source.label ?? (source.job ? TEXT.clip : TEXT.file)) : TEXT.none);
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
