// Document Providers and routes: how they stand, and how their calls fare.

import { h } from './dom.js';
import { badge, quiet, table } from './parts.js';
import * as charts from './charts.js';
import { ahead, count, moment, percent, quantiles, rate, span } from './format.js';

const states = {
  active: ['good', 'active'],
  maintenance: ['notice', 'maintenance'],
  'not-yet-active': ['none', 'not yet active'],
  deactivated: ['none', 'deactivated'],
  'host-not-allowed': ['warning', 'host not allowed'],
};

// circuit is that of an upstream; u is what /status says of it, if it has been called.
function circuit(state, until, u, view) {
  if (state === 'closed' && u?.openFor?.length) {
    const [first, ...more] = u.openFor;
    return [badge('notice', 'closed'), h('small', {}, ` open for ${first}${more.length ? ` and ${count(more.length)} more` : ''} alone`)];
  }
  if (state === 'open') return [badge('bad', 'open'), h('small', {}, ` next probe ${ahead(until, view.now)}`)];
  if (state === 'half-open') return [badge('warning', 'half-open'), h('small', {}, ' being tried')];
  return badge('good', 'closed');
}

const window = (w, view) => [moment(w.start, view.now), ' to ', moment(w.end, view.now)];

function maintenance(p, view) {
  const lines = [];
  if (p.switchedMaintenance) {
    const m = p.switchedMaintenance;
    lines.push(h('div', {}, 'switched, ends ', ahead(m.until, view.now), m.reason ? `: ${m.reason}` : ''));
  }
  for (const w of (p.announcedMaintenance ?? []).slice(0, 2)) {
    lines.push(h('div', {}, Date.parse(w.start) <= view.now ? ['announced, ends ', ahead(w.end, view.now)] : ['announced ', window(w, view)]));
  }
  return lines;
}

// traffic is the cells that providers and routes have in common; meant says that
// whoever calls is refused on purpose.
function traffic(s, meant = false) {
  if (!s) return ['', h('span', { class: 'quiet' }, 'no requests'), '', ''];
  const failed = s.minute.gatewayErrors + s.minute.upstreamErrors;
  const before = s.window.gatewayErrors + s.window.upstreamErrors;
  return [
    charts.requests(s),
    [`${rate(s.minute.perSecond)} /s`, h('small', {}, `${count(s.window.requests)} in 15 min`)],
    [failed ? badge(meant ? 'notice' : 'bad', `${count(failed)}, ${percent(failed, s.minute.requests)}`) : '0', h('small', {}, `${count(before)} in 15 min`),
      s.window.incomplete > 0 && h('small', {}, `${count(s.minute.incomplete)} incomplete, ${count(s.window.incomplete)} in 15 min`)],
    s.minute.requests
      ? quantiles(s.minute)
      : [h('span', { class: 'quiet' }, '–')],
  ];
}

const columns = [
  { name: 'Last 15 minutes', class: 'charted' }, { name: 'Requests', number: true }, { name: 'Errors, last minute', number: true },
  { name: 'Latency p50 / p95 / p99', number: true },
];

// calls are those in flight, and how long the oldest has been waiting for its answer.
function calls(u, view) {
  if (!u) return h('span', { class: 'quiet' }, '–');
  const oldest = u.waitingSince ? view.now - Date.parse(u.waitingSince) : 0;
  return [count(u.inFlight), oldest >= 1000 && h('small', {}, oldest >= 5000 ? badge('warning', `oldest ${span(oldest)}`) : `oldest ${span(oldest)}`), u.queued > 0 && h('small', {}, `${count(u.queued)} queued`)];
}

const nameOf = (p) => p.name?.en ?? p.name?.fr ?? p.name?.nl ?? p.name?.de ?? p.name?.[''] ?? '';

const rank = (p, troubled) => (p.circuit !== 'closed' ? 0 : troubled.has(`provider ${p.providerId}`) && p.state === 'active' ? 1
  : ({ 'host-not-allowed': 2, maintenance: 3, active: 4, 'not-yet-active': 5 })[p.state] ?? 6);

// providers are listed with those in trouble first.
export function providers(view) {
  const troubled = new Set(view.status.attention.map((a) => a.part));
  const list = [...view.status.directory.providers].sort((a, b) => rank(a, troubled) - rank(b, troubled) || a.providerId.localeCompare(b.providerId));
  if (list.length === 0) return quiet('No Document Provider is known. The Provider Registry below says why.');
  const series = new Map(view.activity.providers.map((s) => [s.name, s]));
  const upstreams = new Map(view.status.upstreams.map((u) => [u.name, u]));
  return table('Document Providers, their state and their calls', [{ name: 'Provider' }, { name: 'State' }, { name: 'Circuit', class: 'circuit' }, ...columns, { name: 'In flight', number: true }], list.map((p) => ({
    key: p.providerId,
    cells: [
      [h('span', { class: 'name' }, p.providerId), nameOf(p) && h('small', {}, nameOf(p)), p.contact && rank(p, troubled) < 3 && h('small', {}, `contact: ${p.contact}`)],
      [badge(...(states[p.state] ?? ['none', p.state])), h('small', {}, maintenance(p, view)), p.refusal && h('small', {}, p.refusal)],
      p.state === 'active' || p.state === 'maintenance' ? circuit(p.circuit, p.openUntil, upstreams.get(`provider ${p.providerId}`), view) : h('span', { class: 'quiet' }, '–'),
      ...traffic(series.get(p.providerId), p.state === 'maintenance'),
      calls(upstreams.get(`provider ${p.providerId}`), view),
    ],
  })));
}

// routes show the circuit of their own upstream, if it is one for all.
export function routes(view) {
  const series = new Map(view.activity.routes.map((s) => [s.name, s]));
  const upstreams = new Map(view.status.upstreams.map((u) => [u.name, u]));
  const known = view.status.routes.map((r) => r.name);
  const others = [...series.keys()].filter((name) => !known.includes(name)).map((name) => ({ name, path: name ? '' : 'no route took these' }));
  return table('Routes and their calls', [{ name: 'Route' }, { name: 'Circuit', class: 'circuit' }, ...columns, { name: 'In flight', number: true }], [...view.status.routes, ...others].map((r) => {
    const u = upstreams.get(r.name);
    return {
      key: `route ${r.name}`,
      cells: [
        [h('span', { class: 'name' }, r.name || 'none'), r.path && h('small', {}, r.path)],
        u ? circuit(u.circuit, u.openUntil, u, view) : h('span', { class: 'quiet' }, r.providers ? 'one for each provider' : '–'),
        ...traffic(series.get(r.name)),
        calls(u, view),
      ],
    };
  }));
}
