// One run, live: takes frames of the stream and shows them. The server writes all words.
import { Lanes } from './lanes.js';
import { clock, span } from './times.js';

const byId = (id) => document.getElementById(id);
const body = document.querySelector('#lanes tbody');
const rows = new Map();  // by participant
const lanes = new Lanes(byId('window'), byId('from'), byId('to'));
const inOrder = new Intl.Collator('en', { numeric: true }).compare;

function show(frame) {
  if (frame.is_new) {
    body.replaceChildren();
    byId('notes').replaceChildren();
    rows.clear();
    lanes.clear();
  }
  lanes.at(frame);
  for (const [id, html] of Object.entries(frame.sections)) {
    if (id === 'state' || id === 'status') {
      byId(id).textContent = html;
      byId(id).dataset.state = html;
    } else if (byId(id) !== null) {  // actions are there for operators alone
      byId(id).innerHTML = html;
    }
  }
  frame.people.forEach(showPerson);
  for (const [name, spans] of Object.entries(frame.spans)) lanes.take(name, spans);
  for (const [, time, text, isBad] of frame.notes) {
    const line = document.createElement('li');
    const when = document.createElement('time');
    when.textContent = clock(time);
    line.append(when, text);
    line.classList.toggle('bad', isBad);
    byId('notes').prepend(line);
  }
  while (byId('notes').childElementCount > 200) byId('notes').lastChild.remove();
  byId('nobody').hidden = rows.size > 0;
  count();
  lanes.draw();
  document.body.dataset.frames = Number(document.body.dataset.frames ?? 0) + 1;
}

function showPerson(person) {
  const row = rows.get(person.name) ?? addRow(person.name);
  row.element.className = person.kind;
  row.words.firstChild.textContent = person.words;
  row.age.dataset.since = person.since ?? '';
  row.updates.textContent = person.updates;
  row.behind.textContent = person.staleness ?? '-';
  row.element.title = person.device;
}

function addRow(name) {
  const element = document.createElement('tr');
  const cell = (kind, tag = 'td') => {
    const made = document.createElement(tag);
    made.className = kind;
    element.append(made);
    return made;
  };
  const head = cell('', 'th');
  head.scope = 'row';
  head.textContent = name;
  const words = cell('words');
  const age = document.createElement('time');
  age.className = 'soft';
  words.append(document.createTextNode(''), age);
  const canvas = document.createElement('canvas');
  canvas.setAttribute('aria-hidden', 'true');  // the words beside it say the same
  cell('lane').append(canvas);
  const row = { element, words, age, updates: cell('n wide'), behind: cell('n wide') };
  const after = [...rows.keys()].filter((each) => inOrder(each, name) > 0).sort(inOrder)[0];
  body.insertBefore(element, after === undefined ? null : rows.get(after).element);
  rows.set(name, row);
  lanes.add(name, canvas);
  return row;
}

// Ages and deadlines go on between two frames.
function count() {
  const now = lanes.now();
  for (const each of document.querySelectorAll('time[data-since], time[data-until]')) {
    const since = Number.parseFloat(each.dataset.since), until = Number.parseFloat(each.dataset.until);
    let text = '';
    if (Number.isFinite(since) && now >= since) text = ` for ${span(now - since)}`;
    if (Number.isFinite(until)) text = until > now ? `in ${span(until - now)}` : `${span(now - until)} ago`;
    if (each.textContent !== text) each.textContent = text;
  }
}

const source = new EventSource(document.body.dataset.stream);
source.onmessage = (message) => {
  byId('lost').hidden = true;
  show(JSON.parse(message.data));
};
source.addEventListener('problem', (message) => {
  byId('lost').textContent = message.data;
  byId('lost').hidden = false;
});
source.onerror = () => { byId('lost').hidden = false; };
setInterval(() => { if (lanes.isLive) { count(); lanes.draw(); } }, 500);
byId('window').addEventListener('change', () => lanes.draw());
addEventListener('resize', () => lanes.draw());
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => lanes.draw());
