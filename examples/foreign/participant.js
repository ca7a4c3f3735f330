// A participant in another language, written from docs/protocol.md alone. README.md says how to run it.
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import amqp from 'amqplib';
import { Assembly, cut, pack, row, unpack, unpackValues } from './message.js';
import { load, train } from './softmax.js';

const defaults = {
  federation: 'fanfold', id: 'foreign', broker: process.env.FANFOLD_BROKER_URL ?? 'amqp://guest:guest@localhost/',
  data: '../../learning/digits', index: '0', num: '1', state: 'state', frozen: '', 'chunk-bytes': '4194304',
  'progress-seconds': '10',
};
const flags = Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }]);
const { federation, id, broker, ...options } = parseArgs({ options: Object.fromEntries(flags) }).values;
const userId = decodeURIComponent(new URL(broker).username) || 'guest';
const me = { participant: id, instance: randomBytes(4).toString('hex') };
const seconds = Number(options['progress-seconds']);
const data = load(options.data, Number(options.index), Number(options.num));
const frozen = options.frozen.split(',');
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const idle = { phase: 'waiting', step: 0, steps: 0 };

let connection, publishing, reading; // a connection and its two channels, while there is one
let [prefetch, isReturned, isWorking, activity] = [1, false, false, idle];
let held, incoming; // the version in training or answered last, and a newer one on its way in
let answered = {}; // run and version of the last update that was confirmed
let owed = { run: '', tensors: {} }; // what lossy encodings left out so far
const newest = new Map(); // epoch and version by run

// -- the kept update: on the disk before it is published

const file = `${options.state}/update.bin`;
mkdirSync(options.state, { recursive: true });
const answers = (whole) => ({ whole, message: unpack(whole, 'Update').message });
let kept;
try { kept = answers(readFileSync(file)); } catch { say('nothing_kept'); }

function keep(whole) {
  const out = openSync(`${file}.incoming`, 'w');
  writeFileSync(out, whole);
  fsyncSync(out);
  closeSync(out);
  renameSync(`${file}.incoming`, file);
  kept = answers(whole);
}

// -- publishing: one whole message after another

let turn = Promise.resolve();
function publish(kind, key, whole) {
  turn = turn.catch(() => {}).then(async () => {
    if (!publishing) throw new Error('there is no connection');
    isReturned = false;
    const properties = { contentType: 'application/x-fanfold', appId: 'fanfold', type: kind, userId, persistent: true };
    for (const { body, headers } of cut(kind, whole, Number(options['chunk-bytes']))) {
      publishing.publish(`${federation}.reports`, key, body, { ...properties, mandatory: true, headers });
    }
    await publishing.waitForConfirms(); // fails with a nack, and where the channel closes
    if (isReturned) throw new Error('no queue takes it');
  });
  return turn;
}

const tell = (kind, fields) => publish(kind, 'event', pack(kind, { ...me, ...fields })).catch(() => {});
const hello = (consuming, more = {}) => tell('Hello', {
  version: held?.headers.version ?? null, num_examples: data.length, consuming, alive_seconds: seconds, ...more });

async function publishUpdate() {
  for (let pause = 0.5; ; pause = Math.min(2 * pause, 30)) {
    const error = await publish('Update', 'update', kept.whole).then(() => null, (reason) => reason);
    if (!error) return;
    say('not_taken', { reason: error.message });
    await sleep(1000 * pause * (0.5 + Math.random()));
  }
}

// -- versions

function isNewer({ run, epoch, version }) {
  const [newestEpoch, newestVersion] = newest.get(run) ?? [-1, -1];
  if (epoch < newestEpoch || (epoch === newestEpoch && version <= newestVersion)) return false;
  return newest.set(run, [epoch, version]);
}

function settle(version) {
  version?.deliveries.forEach((acknowledge) => acknowledge());
  version?.deliveries.clear();
}

function take({ properties: { type, headers }, fields: { redelivered }, content }, acknowledge) {
  if (type === 'FinalModel') return acknowledge(); // for those who keep it
  if (type === 'GlobalDifference') { // nothing is kept here to which it could be added
    if (headers.chunk === headers.chunks - 1) hello(true, { wants_whole: true });
    return acknowledge();
  }
  if (type !== 'GlobalParameters') {
    const small = new Assembly(type, headers);
    small.add(headers, content);
    const { message } = small.read(); // UpdateRefused or RunFinished
    say(type, message);
    const isKept = message.run === kept?.message.run && message.base_version === kept.message.base_version;
    if (message.again && isKept) rmSync(file, { force: true }); // the next start trains it anew
    return acknowledge();
  }
  let version = [held, incoming].find((each) => each?.headers.digest === headers.digest);
  if (!version && !isNewer(headers)) return acknowledge();
  if (!version) {
    settle(incoming);
    version = incoming = new Assembly(type, headers);
  }
  version.add(headers, content);
  if (version === held && !isWorking) { // answered already; once it is complete again, send the answer again
    acknowledge();
    return work(version.again.add(headers.chunk).size === headers.chunks);
  }
  if (version.deliveries.has(headers.chunk)) acknowledge();
  else version.deliveries.set(headers.chunk, acknowledge);
  if (version === held) say('recognised', { version: headers.version, redelivered });
  return headers.chunks > prefetch ? consume(headers.chunks).catch(hangUp) : work();
}

/** Answer the newest whole version, or once more the one that was answered, until there is none. */
async function work(isAskedAgain = false) {
  if (isWorking || !(incoming?.isWhole || isAskedAgain)) return;
  isWorking = true;
  if (incoming?.isWhole) [held, incoming] = [incoming, undefined];
  held.again.clear();
  const { digest, run, version } = held.headers;
  if (kept?.message.base_digest === digest) say('sent_again', { version });
  else keep(await answer(held));
  activity = { ...activity, phase: 'uploading' };
  await publishUpdate();
  settle(held);
  say('update_sent', { version, bytes: kept.whole.length });
  [isWorking, activity, answered] = [false, idle, { run, version }];
  work();
}

async function answer(whole) {
  const { message: { run, version, plan, encoding, privacy }, tensors } = whole.read();
  say('training', { version, chunks: whole.headers.chunks });
  if (privacy) throw new Error('this participant takes no part in private runs');
  if (owed.run !== run) owed = { run, tensors: {} };
  for (const { name, values } of tensors) owed.tensors[name]?.forEach((rest, i) => { values[i] += rest / 2; });
  const after = Object.fromEntries(tensors.map(({ name, values }) => [name, values.slice()]));
  const onStep = (step, steps) => { activity = { phase: 'training', step, steps }; };
  await train(after, data, plan, { version, id, onStep });
  const rows = tensors.filter(({ name }) => !frozen.includes(name)).map((tensor) => {
    const { name, dtype, kind, values: before } = tensor;
    if (kind === 'value') return row({ ...tensor, values: after[name] }, 'raw');
    const delta = after[name].map((value, i) => value - before[i] + (owed.tensors[name]?.[i] ?? 0));
    const sent = row({ ...tensor, values: delta }, encoding);
    const read = unpackValues(sent.bytes, dtype, sent.encoding, delta.length);
    owed.tensors[name] = delta.map((value, i) => value - read[i]);
    return sent;
  });
  say('trained', { version });
  const base = { run, base_version: version, base_digest: whole.headers.digest };
  return pack('Update', { ...base, participant: id, num_examples: data.length }, rows);
}

// -- membership: hello, signs of life, goodbye

/** Read our queue, with room for all chunks of a version; what was unacknowledged comes again. */
async function consume(chunks = prefetch) {
  const old = reading;
  [prefetch, reading] = [chunks, undefined];
  for (const version of [held, incoming]) version?.deliveries.clear();
  await old?.close().catch(() => {});
  const channel = reading = (await connection.createChannel()).on('error', () => {});
  await channel.prefetch(prefetch);
  await channel.consume(`${federation}.participant.${id}`, (delivery) => {
    if (!delivery) return hangUp(); // the queue is gone: begin anew
    const acknowledge = () => { if (channel === reading) channel.ack(delivery); };
    try { if (channel === reading) take(delivery, acknowledge); } catch (error) {
      say('message_refused', { reason: error.message });
      acknowledge();
    }
  }, { exclusive: true });
}

const hangUp = () => connection?.close().catch(() => {});

/** Hold one connection until it ends. */
async function attend() {
  connection = await amqp.connect(broker, { timeout: 10_000 });
  const ended = new Promise((resolve) => { connection.on('error', () => {}).once('close', resolve); });
  publishing = await connection.createConfirmChannel();
  publishing.on('error', () => {}).on('return', () => { isReturned = true; }).once('close', hangUp);
  const refusal = await consume().then(() => null, (error) => error);
  if (refusal?.code !== 403) await hello(!refusal); // 403: another process consumes with this id
  if (refusal) throw refusal; // 404: a coordinator declares the queue when it receives the hello
  say('reading');
  await ended;
}

async function leave(reason, code = 0) {
  say('leaving', { reason });
  await Promise.race([tell('Goodbye', { ...answered, reason: reason.slice(0, 1024) }), sleep(3000)]);
  process.exit(code);
}

process.once('SIGTERM', () => leave('told to stop')).once('SIGINT', () => leave('told to stop'));
process.on('unhandledRejection', (error) => leave(error.message, 1)); // what work() cannot do
const progress = ({ run, version }) => tell('Progress', { run, version, ...activity, alive_seconds: seconds });
setInterval(() => (held ? progress(held.headers) : hello(Boolean(reading))), 1000 * seconds);
for (;;) {
  await attend().catch((error) => say('waiting', { reason: error.message }));
  hangUp();
  [connection, publishing, reading] = [];
  for (const version of [held, incoming]) version?.deliveries.clear();
  await sleep(500);
}
