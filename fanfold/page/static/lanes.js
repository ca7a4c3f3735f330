// The lanes of all participants: what each did when, coloured by how many versions it was behind.
import { clock } from './times.js';

const HEIGHT = 22;
const ROUNDS = 20;  // "the last rounds"
const LEAST = 10, MOST = 3600;  // seconds of them
const SHAPES = { d: [14, 6], t: [3, 17], u: [3, 6], w: [10, 2] };  // top and height of a phase

export class Lanes {
  constructor(choice, from, to) {
    Object.assign(this, { choice, from, to, isLive: false, version: 0, roundSeconds: null, offset: 0, still: 0 });
    this.lanes = new Map();  // by participant: canvas and spans by serial
    this.seen = new Set();
    this.watch = new IntersectionObserver((entries) => {
      for (const each of entries) this.seen[each.isIntersecting ? 'add' : 'delete'](each.target);
      this.draw();
    });
  }

  clear() { this.lanes.clear(); this.seen.clear(); this.watch.disconnect(); }

  add(name, canvas) {
    this.lanes.set(name, { canvas, spans: new Map() });
    this.watch.observe(canvas);
  }

  take(name, spans) {
    const lane = this.lanes.get(name);
    for (const each of spans) lane.spans.set(each[0], each);
    for (const serial of lane.spans.keys()) {
      if (lane.spans.size <= 400) break;
      lane.spans.delete(serial);
    }
  }

  at(frame) {
    this.isLive = frame.is_alive;
    this.version = frame.version;
    this.roundSeconds = frame.round_seconds;
    this.offset = frame.now - Date.now() / 1000;
    this.still = frame.now;
  }

  now() { return this.isLive ? Date.now() / 1000 + this.offset : this.still; }

  range() {
    const end = this.now();
    const begins = [...this.lanes.values()].flatMap((each) => [...each.spans.values()].slice(0, 1).map((span) => span[2]));
    const first = begins.length ? Math.min(...begins) : end;
    let chosen = Number(this.choice.value);
    if (this.choice.value === 'all') chosen = end - first;
    if (this.choice.value === 'auto') chosen = Math.min(MOST, ROUNDS * (this.roundSeconds ?? 1), end - first);
    return [end - Math.max(LEAST, chosen), end];
  }

  draw() {
    if (this.lanes.size === 0) return;
    const [begin, end] = this.range();
    this.from.textContent = clock(begin);
    this.to.textContent = clock(end);
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name);
    const colors = { wait: color('--wait'), bad: color('--bad'), stale: [0, 1, 2, 2, 4].map((each) => color(`--s${each}`)) };
    for (const lane of this.lanes.values()) {
      if (this.seen.has(lane.canvas)) this.drawOne(lane, begin, end, colors);
    }
  }

  drawOne({ canvas, spans }, begin, end, colors) {
    const ratio = devicePixelRatio, width = canvas.clientWidth;
    if (canvas.width !== Math.round(width * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = HEIGHT * ratio;
    }
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    const scale = width / (end - begin);
    for (const [, phase, from, until, version, result] of spans.values()) {
      const left = Math.max(0, (from - begin) * scale), right = Math.min(width, ((until ?? end) - begin) * scale);
      if (right < 0 || left > width) continue;
      const [top, height] = SHAPES[phase];
      const wide = Math.max(1, right - left - (right - left > 4 ? 1 : 0));
      const behind = Math.max(0, typeof result === 'number' ? result : this.version - version);
      const isIdle = phase === 'w' || (result === null && until !== null);  // nothing came of it
      pen.fillStyle = isIdle ? colors.wait : colors.stale[Math.min(4, behind)];
      if (result === 'refused') {
        pen.strokeStyle = colors.bad;
        pen.lineWidth = 2;
        pen.strokeRect(left + 1, top + 1, Math.max(1, wide - 2), height - 2);
      } else {
        pen.globalAlpha = !isIdle && result === null ? 0.6 : 1;  // it goes on
        pen.fillRect(left, top, wide, height);
        pen.globalAlpha = 1;
      }
    }
  }
}
