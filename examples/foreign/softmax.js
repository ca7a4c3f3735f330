// Softmax regression behind a normalisation, in plain JavaScript: the network of softmax.py.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';

const [MEAN, VARIANCE, COUNT, WEIGHT, BIAS] =
  ['0.running_mean', '0.running_var', '0.num_batches_tracked', '1.weight', '1.bias'];
const [PIXELS, CLASSES, NUM_TRAIN, EPSILON, MEMORY] = [64, 10, 1437, 0.01, 0.1];

/** This participant's share of the digits: every num-th image, from index on. */
export function load(folder, index, num) {
  const read = (name) => gunzipSync(readFileSync(`${folder}/${name}-ubyte.gz`));
  const [images, labels] = [read('images.idx3'), read('labels.idx1')];
  const pixels = (i) => Float64Array.from(images.subarray(16 + i * PIXELS).subarray(0, PIXELS), (pixel) => pixel / 16);
  const data = Array.from({ length: NUM_TRAIN }, (_, i) => ({ x: pixels(i), label: labels[8 + i] }));
  return data.filter((_, i) => i % num === index);
}

/** Train tensors, typed arrays by name, in place. Randomness follows from seed, version and id. */
export async function train(tensors, data, plan, { version, id, onStep }) {
  if (plan.optimizer.toLowerCase() !== 'sgd') throw new Error(`this participant knows no optimizer ${plan.optimizer}`);
  const base = { [WEIGHT]: tensors[WEIGHT].slice(), [BIAS]: tensors[BIAS].slice() };
  const speed = { [WEIGHT]: new Float64Array(CLASSES * PIXELS), [BIAS]: new Float64Array(CLASSES) };
  const perPass = Math.ceil(data.length / plan.batch_size);
  const steps = plan.steps ?? plan.epochs * perPass;
  for (let step = 0, order = []; step < steps; step += 1) {
    if (!order.length) order = shuffled(data, `${plan.seed}/${version}/${id}/${step}`);
    const gradients = learn(tensors, order.splice(0, plan.batch_size));
    for (const [name, gradient] of Object.entries(gradients)) {
      gradient.forEach((slope, i) => {
        const pull = plan.proximal_mu * (tensors[name][i] - base[name][i]);
        speed[name][i] = plan.momentum * speed[name][i] + slope + pull;
        tensors[name][i] -= plan.lr * speed[name][i];
      });
    }
    onStep(step + 1, steps);
    await breathe(); // lets the event loop answer heartbeats and take deliveries
  }
}

function shuffled(data, seed) {
  const key = (i) => createHash('sha256').update(`${seed}/${i}`).digest('hex');
  return data.map((example, i) => [key(i), example]).sort(([a], [b]) => (a < b ? -1 : 1)).map(([, example]) => example);
}

/** One batch: move the statistics, as a BatchNorm does in training, and return the loss's gradients. */
function learn(tensors, batch) {
  const zeros = new Float64Array(PIXELS);
  const mean = zeros.map((_, i) => batch.reduce((sum, { x }) => sum + x[i], 0) / batch.length);
  const variance = zeros.map((_, i) => batch.reduce((sum, { x }) => sum + (x[i] - mean[i]) ** 2, 0) / batch.length);
  const unbiased = batch.length / Math.max(1, batch.length - 1);
  mean.forEach((_, i) => {
    tensors[MEAN][i] += MEMORY * (mean[i] - tensors[MEAN][i]);
    tensors[VARIANCE][i] += MEMORY * (variance[i] * unbiased - tensors[VARIANCE][i]);
  });
  tensors[COUNT][0] += 1n;
  const gradients = { [WEIGHT]: new Float64Array(CLASSES * PIXELS), [BIAS]: new Float64Array(CLASSES) };
  for (const { x, label } of batch) {
    const inputs = x.map((value, i) => (value - mean[i]) / Math.sqrt(variance[i] + EPSILON));
    const score = (bias, c) => inputs.reduce((sum, value, i) => sum + value * tensors[WEIGHT][c * PIXELS + i], bias);
    const scores = Array.from(tensors[BIAS], score);
    const powers = scores.map((each) => Math.exp(each - Math.max(...scores)));
    const total = powers.reduce((sum, power) => sum + power);
    powers.forEach((power, c) => {
      const error = (power / total - (c === label ? 1 : 0)) / batch.length;
      gradients[BIAS][c] += error;
      inputs.forEach((value, i) => { gradients[WEIGHT][c * PIXELS + i] += error * value; });
    });
  }
  return gradients;
}
