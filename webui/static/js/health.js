/** The line at the top that says which model plays and whether it can, and the same in the help. */

import { byId, el, setText } from './dom.js';

function show(status, text) {
  const line = byId('model-line');
  line.dataset.status = status;
  line.title = `${text}: show the models`;
  setText(byId('model-text'), text);
}

/** The server does not answer, or not as ours. @param {any} error an ApiError */
export function showLost(error) {
  const away = 'The server does not answer; trying again …';
  const needsToken = error?.status === 401;
  show('lost', needsToken ? error.message : error?.message.startsWith('Something else') ? `${error.message} Trying again …` : away);
}

/** @param {any} health what /api/health says */
export function showHealth(health) {
  const games = `${health.games.length} ${health.games.length === 1 ? 'game' : 'games'}`;
  const rate = health.sample_rate ? ` · ${health.sample_rate / 1000} kHz` : '';
  const texts = {
    ready: `${health.model} · ${games}${rate}${health.ema ? ` · ${health.ema}` : ''}`,
    loading: health.loaded === health.model_id ? `${health.model} is loading …` : `${health.model} comes after the clips that wait for ${health.loaded.replace('shipped:', '')}`,
    silent: `${health.model} does not answer; it is started again if it stays so`,
    resting: `${health.model} waits: a training has the device`,
    failed: `The model cannot be loaded: ${health.message}`,
  };
  show(health.status, texts[health.status] ?? health.status);
  byId('training-curves').hidden = health.shipped; // which has no runs
  byId('train-own').hidden = !health.shipped;
  setText(byId('tensorboard'), `tensorboard --logdir ${health.model_folder}`);
  const details = { Folder: health.model_folder, Games: games, Fingerprint: health.fingerprint ?? '…', Clips: health.output_folder };
  byId('model-details').replaceChildren(...Object.entries(details).flatMap(([term, text]) => [el('dt', {}, term), el('dd', {}, text)]));
}
