// The page asks the gateway every two seconds how it is, and shows the answer. While
// nobody looks it does not ask; when nobody answers it says so, and how old what it
// shows is.

import { show } from './dom.js';
import * as overview from './overview.js';
import * as traffic from './traffic.js';
import * as problems from './problems.js';
import * as machinery from './machinery.js';

const period = 2000; // between two questions, in milliseconds
const patience = 5000; // for an answer
const slowest = 10000; // between two questions to a gateway that does not answer

const at = (id) => document.getElementById(id);
const content = (id) => at(id).querySelector('.content');

// what is known, and what the reader has chosen
let known = null; // {status, activity, taken, offset}
let lost = null; // {why}
let paused = false;
let failures = 0;
let timer = 0;
let asking = false;

const ui = {
  query: '', kind: 'all', all: false, open: new Set(), target: '',
  toggled(id, open) {
    if (ui.open.has(id) === open) return;
    if (open) ui.open.add(id); else ui.open.delete(id);
    render();
  },
  showAll() { ui.all = true; render(); },
  retried: '',
  async retry(event) {
    event.preventDefault();
    const field = event.target.elements.token;
    const token = field.value;
    field.value = '';
    try {
      const response = await fetch('/tokens/retry', { method: 'POST', headers: { Authorization: `Bearer ${token}`, Accept: 'application/json' } });
      ui.retried = response.ok ? 'The gateway is asking.' : ((await response.json()).detail ?? `The gateway answers ${response.status}.`);
    } catch {
      ui.retried = 'The gateway does not answer.';
    }
    render();
    ask();
  },
};

async function read(path, signal) {
  const response = await fetch(path, { cache: 'no-store', signal, headers: { Accept: 'application/json' } });
  if (!response.ok) {
    let detail = '';
    try { detail = (await response.json()).detail ?? ''; } catch { /* it was no problem document */ }
    throw new Error(`The gateway answers ${response.status}. ${detail}`.trim());
  }
  return response.json();
}

async function ask() {
  clearTimeout(timer);
  if (asking || paused || document.hidden) return;
  asking = true;
  const abort = new AbortController();
  const limit = setTimeout(() => abort.abort(), patience);
  try {
    const [status, activity] = await Promise.all([read('/status', abort.signal), read('/activity', abort.signal)]);
    known = { status, activity, taken: performance.now(), offset: Date.parse(status.now) - Date.now() };
    lost = null;
    failures = 0;
  } catch (error) {
    failures++;
    const silent = abort.signal.aborted || error instanceof TypeError;
    lost = { why: silent ? 'The gateway does not answer.' : error.message };
  } finally {
    clearTimeout(limit);
    asking = false;
  }
  render();
  if (!paused && !document.hidden) timer = setTimeout(ask, Math.min(period * Math.max(1, failures), slowest));
}

let announced = '';

function render() {
  if (!known) {
    if (lost) {
      show(at('picture'), lost.why);
      at('state-heading').textContent = 'No connection to the gateway';
    }
    return;
  }
  const view = {
    status: known.status, activity: known.activity, lost, paused,
    now: Date.now() + known.offset, age: performance.now() - known.taken,
  };
  document.body.classList.toggle('stale', Boolean(lost));
  show(at('identity'), overview.identity(view));
  show(at('picture'), overview.picture(view));
  show(at('state'), overview.state(view));
  show(at('figures'), overview.figures(view));
  show(content('providers'), traffic.providers(view));
  show(content('routes'), traffic.routes(view));
  show(content('problems'), problems.problems(view, ui));
  for (const name of ['refused', 'clients', 'cache', 'redis', 'evidence', 'configuration', 'directory', 'tenancy']) {
    show(content(name), machinery[name](view, ui));
  }
  const { text } = overview.headline(view);
  document.title = `${text} · e-Box gateway ${view.status.environment}`;
  const sentence = `${text}. ${view.status.attention.map((a) => `${a.part}: ${a.severity}`).join('. ')}`;
  if (sentence !== announced) {
    announced = sentence;
    at('announcement').textContent = sentence;
  }
}

// follow opens the problem that the address names.
function follow() {
  const id = location.hash.slice(1);
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) {
    ui.target = '';
    return;
  }
  ui.target = id.toLowerCase();
  ui.open.add(ui.target);
  render();
  const row = at(ui.target);
  if (!row) {
    at('problems').scrollIntoView();
    return;
  }
  row.open = true;
  row.scrollIntoView({ block: 'center' });
  row.querySelector('summary').focus({ preventScroll: true });
}

at('search').addEventListener('submit', (event) => event.preventDefault());
at('query').addEventListener('input', (event) => { ui.query = event.target.value; ui.all = false; render(); });
at('kind').addEventListener('change', (event) => { ui.kind = event.target.value; ui.all = false; render(); });
at('pause').addEventListener('click', () => {
  paused = !paused;
  at('pause').setAttribute('aria-pressed', String(paused));
  at('pause').textContent = paused ? 'Resume' : 'Pause';
  render();
  ask();
});
document.addEventListener('visibilitychange', ask);
window.addEventListener('online', ask);
window.addEventListener('hashchange', follow);

setInterval(() => { if (!document.hidden) render(); }, 1000); // clocks and countdowns
ask().then(follow);
