// A whole message as bytes and back, its chunks, and the encodings of tensors.
import { decode, encode } from '@msgpack/msgpack';
import { blake3 } from '@noble/hashes/blake3';

const [PROTOCOL, MAGIC, LARGEST_BYTES] = [3, 'WRRN', 2 ** 30];
const hashOf = (bytes) => Buffer.from(blake3(bytes));
const digestOf = (bodies) => hashOf(Buffer.concat(bodies.map(hashOf))).toString('hex');
const aligned = (offset) => Math.ceil(offset / 64) * 64;
const view = (Type, bytes) => new Type(Uint8Array.from(bytes).buffer); // a copy, where it is aligned
const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
const check = (is, sentence) => { if (!is) throw new Error(sentence); };

export function pack(kind, message, rows = []) {
  let end = 0;
  const parts = [];
  const tensors = rows.map(({ name, dtype, shape, kind: how, encoding, bytes }) => {
    const begin = aligned(end);
    parts.push(Buffer.alloc(begin - end), bytes);
    end = begin + bytes.length;
    return [name, dtype, shape, how, encoding, begin, end];
  });
  const header = encode({ protocol: PROTOCOL, kind, message, tensors });
  const head = Buffer.alloc(aligned(8 + header.length));
  head.write(MAGIC);
  head.writeUInt32LE(header.length, 4);
  head.set(header, 8);
  return Buffer.concat([head, ...parts]);
}

export function unpack(whole, kind) {
  check(whole.toString('latin1', 0, 4) === MAGIC, `the message does not begin with ${MAGIC}`);
  const end = 8 + whole.readUInt32LE(4);
  const document = decode(whole.subarray(8, end));
  check(document.protocol === PROTOCOL, `the message speaks protocol ${document.protocol}`);
  check(document.kind === kind, `${document.kind} was announced as ${kind}`);
  const data = whole.subarray(aligned(end));
  const tensors = document.tensors.map(([name, dtype, shape, how, encoding, from, to]) => {
    const size = shape.reduce((product, length) => product * length, 1);
    return { name, dtype, shape, kind: how, values: unpackValues(data.subarray(from, to), dtype, encoding, size) };
  });
  return { message: document.message, tensors };
}

export function cut(kind, whole, chunkBytes) {
  const bodies = [];
  for (let at = 0; at < whole.length; at += chunkBytes) bodies.push(whole.subarray(at, at + chunkBytes));
  const { run, version, base_version: base, participant, num_examples: examples } = unpack(whole, kind).message;
  const labels = Object.entries({ run, version: version ?? base, participant, examples });
  const sizes = { chunks: bodies.length, chunk_bytes: chunkBytes, bytes: whole.length };
  const common = { protocol: PROTOCOL, digest: digestOf(bodies), ...sizes };
  Object.assign(common, Object.fromEntries(labels.filter(([, value]) => value != null)));
  return bodies.map((body, chunk) => (
    { body, headers: { ...common, chunk, chunk_blake3: hashOf(body).toString('hex') } }));
}

/** One message on its way in. */
export class Assembly {
  constructor(kind, headers) {
    check(headers.protocol === PROTOCOL, `the message speaks protocol ${headers.protocol}`);
    check(headers.bytes > 0 && headers.bytes <= LARGEST_BYTES, `the message has ${headers.bytes} bytes`);
    check(headers.chunks === Math.ceil(headers.bytes / headers.chunk_bytes), 'its sizes do not fit');
    Object.assign(this, { kind, headers, bodies: new Map(), deliveries: new Map(), again: new Set() });
  }

  get isWhole() { return this.bodies.size === this.headers.chunks; }

  add(headers, body) {
    check(hashOf(body).toString('hex') === headers.chunk_blake3, 'the chunk has another digest');
    this.bodies.set(headers.chunk, body);
  }

  read() {
    const bodies = Array.from({ length: this.headers.chunks }, (_, chunk) => this.bodies.get(chunk));
    check(digestOf(bodies) === this.headers.digest, 'the digest of the whole message is wrong');
    return unpack(Buffer.concat(bodies), this.kind);
  }
}

// -- values: how to write and how to read them, by dtype and by encoding

function toHalf(value) { // to nearest, ties to even
  if (Number.isNaN(value)) return 0x7e00;
  const exponent = Math.min(Math.max(Math.floor(Math.log2(Math.abs(value))), -14), 16);
  const exact = Math.abs(value) / 2 ** (exponent - 10);
  const up = Math.round(exact);
  const steps = up - exact === 0.5 && up % 2 ? up - 1 : up;
  return Math.min((exponent + 14) * 1024 + steps, 0x7c00) | (value < 0 ? 0x8000 : 0);
}

function fromHalf(bits) {
  const [exponent, steps] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? (1024 + steps) * 2 ** (exponent - 25) : steps * 2 ** -24;
  return (exponent === 31 ? (steps ? NaN : Infinity) : size) * (bits & 0x8000 ? -1 : 1);
}

function toBrain(value) { // to nearest, ties to even
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  return Number.isNaN(value) ? 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
const fromBrain = (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0];

function toInt8(values) {
  const scales = new Float32Array(Math.ceil(values.length / 256));
  const codes = new Int8Array(values.length);
  for (const block of scales.keys()) {
    const part = Float32Array.from(values.slice(256 * block, 256 * block + 256));
    const largest = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = scales[block] = largest < Infinity ? Math.fround(largest / 127) : NaN;
    const code = (value) => (scale > 0 ? Math.max(-127, Math.min(127, Math.round(value / scale))) : 0);
    codes.set(Int8Array.from(part, code), 256 * block);
  }
  return Buffer.concat([bytesOf(scales), bytesOf(codes)]);
}

function fromInt8(bytes, size) {
  const begin = 4 * Math.ceil(size / 256);
  const scales = view(Float32Array, bytes.subarray(0, begin));
  return Float32Array.from(view(Int8Array, bytes.subarray(begin)), (code, i) => code * scales[i >> 8]);
}

const plain = (Type) => [(values) => bytesOf(Type.from(values)), (bytes) => view(Type, bytes)];
const narrow = (to, from) => [
  (values) => bytesOf(Uint16Array.from(values, to)), (bytes) => Float32Array.from(view(Uint16Array, bytes), from)];
const FLOATS = {
  float16: narrow(toHalf, fromHalf), bfloat16: narrow(toBrain, fromBrain),
  float32: plain(Float32Array), float64: plain(Float64Array),
};
const RAW = {
  ...FLOATS, bool: plain(Uint8Array),
  int8: plain(Int8Array), int16: plain(Int16Array), int32: plain(Int32Array), int64: plain(BigInt64Array),
  uint8: plain(Uint8Array), uint16: plain(Uint16Array), uint32: plain(Uint32Array), uint64: plain(BigUint64Array),
};

function parsed(encoding, dtype) {
  const top = /^topk:(0\.\d{1,6})(?:\+(float16|bfloat16|int8))?$/.exec(encoding);
  const form = top ? top[2] ?? 'float32' : encoding;
  const [write, read] = (form === 'raw' ? RAW[dtype] : { ...FLOATS, int8: [toInt8, fromInt8] }[form]) ?? [];
  check(write, `this participant knows no ${encoding} of ${dtype}`);
  return { fraction: top && Number(top[1]), write, read };
}

export function unpackValues(bytes, dtype, encoding, size) {
  const { fraction, read } = parsed(encoding, dtype);
  if (fraction === null) return read(bytes, size);
  const kept = Math.ceil(fraction * size);
  const [values, sent] = [new Float64Array(size), read(bytes.subarray(4 * kept), kept)];
  view(Int32Array, bytes.subarray(0, 4 * kept)).forEach((index, i) => { values[index] = sent[i]; });
  return values;
}

function packValues(values, dtype, encoding) {
  const { fraction, write } = parsed(encoding, dtype);
  if (fraction === null) return write(values);
  const size = (index) => (Number.isNaN(values[index]) ? Infinity : Math.abs(values[index]));
  const order = Int32Array.from(values.keys()).sort((a, b) => size(b) - size(a) || a - b);
  const kept = order.slice(0, Math.ceil(fraction * values.length)).sort();
  return Buffer.concat([bytesOf(kept), write(Array.from(kept, (index) => values[index]))]);
}

/** A tensor as an update carries it: a delta as wanted, where that is smaller and makes nothing infinite. */
export function row(tensor, wanted) {
  const { values, dtype, kind } = tensor;
  const raw = { ...tensor, encoding: 'raw', bytes: packValues(values, dtype, 'raw') };
  if (kind === 'value' || wanted === 'float32' || !FLOATS[dtype]) return raw;
  const bytes = packValues(values, dtype, wanted);
  const read = unpackValues(bytes, dtype, wanted, values.length);
  const isTrue = values.every((value, i) => Number.isFinite(read[i]) || !Number.isFinite(value));
  return bytes.length < raw.bytes.length && isTrue ? { ...raw, encoding: wanted, bytes } : raw;
}
