/** Integrated loudness of decoded samples, after ITU-R BS.1770-4: K-weighting, blocks of 400 ms, two gates. */

const BLOCK = 0.4; // seconds
const HOP = 0.1; // seconds: blocks overlap by three quarters
const ABSOLUTE_GATE = -70; // LUFS
const RELATIVE_GATE = -10; // LU below the mean of what passes the first
const OFFSET = -0.691; // dB: a sine of 997 Hz at full scale on one channel is -3.01 LUFS

/** The two filters of the K-weighting by their analogue parameters, so that they hold at any rate. */
const SHELF = { frequency: 1681.9745, gain: 3.99984385, quality: 0.70717524 };
const HIGH_PASS = { frequency: 38.13547, quality: 0.50032704 };

function shelf(rate) {
  const k = Math.tan((Math.PI * SHELF.frequency) / rate);
  const high = 10 ** (SHELF.gain / 20);
  const middle = high ** 0.4996667741545416;
  const damped = k / SHELF.quality;
  const scale = 1 + damped + k * k;
  return {
    feedforward: [(high + middle * damped + k * k) / scale, (2 * (k * k - high)) / scale, (high - middle * damped + k * k) / scale],
    feedback: [1, (2 * (k * k - 1)) / scale, (1 - damped + k * k) / scale],
  };
}

function highPass(rate) {
  const k = Math.tan((Math.PI * HIGH_PASS.frequency) / rate);
  const damped = k / HIGH_PASS.quality;
  const scale = 1 + damped + k * k;
  return { feedforward: [1, -2, 1], feedback: [1, (2 * (k * k - 1)) / scale, (1 - damped + k * k) / scale] };
}

/** @param {AudioBuffer} sound @returns {Promise<AudioBuffer>} */
function weighted(sound) {
  const context = new OfflineAudioContext(sound.numberOfChannels, sound.length, sound.sampleRate);
  const source = new AudioBufferSourceNode(context, { buffer: sound });
  const filters = [shelf(sound.sampleRate), highPass(sound.sampleRate)].map((options) => new IIRFilterNode(context, options));
  source.connect(filters[0]).connect(filters[1]).connect(context.destination);
  source.start();
  return context.startRendering();
}

/** Mean square, summed over channels, of each hop. */
function energies(sound) {
  const size = Math.max(1, Math.round(HOP * sound.sampleRate));
  const sums = new Float64Array(Math.max(1, Math.floor(sound.length / size)));
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    const samples = sound.getChannelData(channel);
    for (let hop = 0; hop < sums.length; hop += 1) {
      let sum = 0;
      for (let at = hop * size; at < Math.min((hop + 1) * size, samples.length); at += 1) sum += samples[at] * samples[at];
      sums[hop] += sum / size;
    }
  }
  return sums;
}

/** Mean energy in LUFS of blocks given as energies. */
const level = (blocks) => OFFSET + 10 * Math.log10(blocks.reduce((sum, energy) => sum + energy, 0) / blocks.length);

/**
 * In LUFS; -Infinity for silence. Clips of less than a block are one block.
 * @param {AudioBuffer} sound @returns {Promise<number>}
 */
export async function loudnessOf(sound) {
  const hops = energies(await weighted(sound));
  const width = Math.min(Math.round(BLOCK / HOP), hops.length);
  const blocks = [];
  for (let first = 0; first + width <= hops.length; first += 1) {
    blocks.push(hops.subarray(first, first + width).reduce((sum, energy) => sum + energy, 0) / width);
  }
  const loud = blocks.filter((energy) => level([energy]) > ABSOLUTE_GATE);
  if (!loud.length) return -Infinity;
  const gate = level(loud) + RELATIVE_GATE;
  return level(loud.filter((energy) => level([energy]) > gate));
}
