/** The line at the top that says which model plays and whether it can, and the same in the help. */

import { byId, el, setText } from './dom.js';
import { HEALTH as TEXT, SERVER } from './texts.js';

function show(status, text) {
  const line = byId('model-line');
  line.dataset.status = status;
  line.title = TEXT.open(text);
  setText(byId('model-text'), text);
}

/** The server does not answer, or not as ours. @param {any} error an ApiError */
export function showLost(error) {
  const needsToken = error?.status === 401;
  show('lost', needsToken ? error.message : error?.message === SERVER.other ? SERVER.again(error.message) : SERVER.away);
}

/** @param {any} health what /api/health says */
export function showHealth(health) {
  const texts = {
    ready: TEXT.ready(health.model, health.games.length, health.sample_rate, health.ema),
    loading: health.loaded === health.model_id ? TEXT.loading(health.model) : TEXT.later(health.model, health.loaded.replace('shipped:', '')),
    silent: TEXT.silent(health.model),
    resting: TEXT.resting(health.model),
    failed: TEXT.failed(health.message),
  };
  show(health.status, texts[health.status] ?? health.status);
  byId('training-curves').hidden = health.shipped; // which has no runs
  byId('train-own').hidden = !health.shipped;
  setText(byId('tensorboard'), `tensorboard --logdir ${health.model_folder}`);
  const details = {
    [TEXT.folder]: health.model_folder, [TEXT.games]: String(health.games.length), [TEXT.fingerprint]: health.fingerprint ?? '…', [TEXT.clips]: health.output_folder,
  };
  byId('model-details').replaceChildren(...Object.entries(details).flatMap(([term, text]) => [el('dt', {}, term), el('dd', {}, text)]));
}
