// What works behind the requests: keys and tokens, the cache, Redis, the evidence, the
// configuration, the registry; and the enterprises that somebody has to see to.

import { h } from './dom.js';
import { badge, code, facts, quiet, table } from './parts.js';
import { ago, ahead, bytes, count, enterprise, moment, percent, span } from './format.js';

// refused lists enterprises that an upstream refuses: a long list is one line for each upstream, to be opened.
export function refused(view) {
  const { total, enterprises } = view.status.refused;
  if (total === 0) return quiet('No upstream has refused an enterprise since the start, or all have been served again.');
  const upstreams = Map.groupBy(enterprises, (r) => [r.provider, r.route].filter(Boolean).join(' · '));
  return [
    [...upstreams].map(([name, list]) => (enterprises.length <= 5 ? refusedBy(name, list, view)
      : h('details', { key: name, class: 'refusals' }, h('summary', {}, h('span', { class: 'name' }, name), ` refuses ${count(list.length)} ${list.length === 1 ? 'enterprise' : 'enterprises'}, the last ${ago(list[0].last, view.now)}`), refusedBy(name, list, view)))),
    total > enterprises.length && h('p', { class: 'quiet' }, `The latest ${count(enterprises.length)} of ${count(total)}. All of them: `, h('a', { href: '/enterprises/refused' }, '/enterprises/refused'), '.'),
  ];
}

function refusedBy(name, list, view) {
  return table(`Enterprises refused by ${name}`, [
    { name: 'Enterprise' }, { name: 'Refused by' }, { name: 'Status', number: true }, { name: 'Since' }, { name: 'Last' }, { name: 'Times', number: true }, { name: 'Last asked by' },
  ], list.map((r) => ({
    key: `${r.enterprise} ${r.route} ${r.provider}`,
    cells: [
      h('span', { class: 'name' }, enterprise(r.enterprise)), name, [r.status, r.missingScopes && h('small', {}, ` asks for ${r.missingScopes}`)], moment(r.since, view.now),
      ago(r.last, view.now), count(r.count), [r.caller || 'a caller without a rule', h('small', {}, h('a', { href: `#${r.requestId}` }, r.requestId))],
    ],
  })));
}

const keyTones = { usable: 'good', 'no-certificate': 'none', expiring: 'warning', expired: 'bad', 'not-yet-valid': 'bad' };

function token(t, view) {
  const next = t.error?.until && `; next try ${ahead(t.error.until, view.now)}`;
  if (t.error && !t.expires) return [badge('bad', t.error.code), h('small', {}, t.error.text, next)];
  if (!t.expires) return h('span', { class: 'quiet' }, 'none yet');
  return [badge(t.error ? 'warning' : 'good', 'valid'), h('small', {}, ` expires ${ahead(t.expires, view.now)}`), t.error && h('small', {}, `renewal fails: ${t.error.text}`, next)];
}

// clock is how far another clock is from the gateway's.
const clock = ({ aheadSeconds: s }) => (Math.abs(s) < 1 ? 'agrees with ours' : `${span(Math.abs(s) * 1000)} ${s > 0 ? 'ahead of' : 'behind'} ours`);

// retry has the gateway ask at once for what it was refused.
const retry = (ui) => h('form', { class: 'retry', key: 'retry', onsubmit: ui.retry },
  h('label', { for: 'token' }, 'Registered just now? Admin token'),
  h('input', { id: 'token', name: 'token', type: 'password', autocomplete: 'off', required: true }),
  h('button', { type: 'submit' }, 'Try now'),
  h('p', { class: 'quiet', role: 'status' }, ui.retried || 'On the machine itself: gateway token --retry'));

// clients shows each OAuth client with its key and its tokens; never either itself.
export function clients(view, ui) {
  if (view.status.clients.length === 0) return quiet('There is no OAuth client.');
  const waits = view.status.clients.some((c) => c.pendingKey || c.keyError || c.tokens.some((t) => t.error));
  return [waits && retry(ui), view.status.clients.map((c) => h('div', { class: 'client', key: `client ${c.name}` },
    h('h3', {}, c.name),
    facts(
      ['Client id', code(c.clientId)],
      ['Certificate', c.key && [badge(keyTones[c.key.state] ?? 'none', c.key.state), c.key.notAfter && ` until ${c.key.notAfter.slice(0, 16).replace('T', ' ')}${c.key.daysLeft < 0 ? '' : `, ${count(c.key.daysLeft)} days left`}`]],
      ['Subject', c.key?.subject],
      ['Signs with', c.key?.algorithm],
      ['Key', c.keyError && [badge('bad', 'cannot be loaded'), h('small', {}, `${c.keyError.text} (since ${ago(c.keyError.since, view.now)})`)]],
      ['New key', c.pendingKey && [badge('warning', 'does not sign yet'), h('small', {}, `${c.pendingKey.reason}${c.pendingKey.nextTry ? `; next try ${ahead(c.pendingKey.nextTry, view.now)}` : ''}`)]],
      ['Authorization Server', c.tokenUrl],
      ['Its clock', c.clock && [Math.abs(c.clock.aheadSeconds) >= 30 ? badge('bad', clock(c.clock)) : clock(c.clock), h('small', {}, ` ${ago(c.clock.at, view.now)}`)]]),
    c.tokens.length > 0 && table(`Tokens of ${c.name}`, [{ name: 'Scopes', class: 'scopes' }, { name: 'Token' }, { name: 'Requests', number: true }, { name: 'Refused', number: true }, { name: 'Outages', number: true }],
      c.tokens.map((t) => ({ key: `${c.name} ${t.scopes.join(' ')}`, cells: [t.scopes.map((s) => h('div', { class: 'scope' }, s)), token(t, view), count(t.requests), count(t.refusals), count(t.outages)] })))))];
}

export function cache(view) {
  const c = view.status.cache;
  return facts(
    ['Hit rate', percent(c.hits, c.hits + c.misses)], ['Hits', count(c.hits)], ['Misses', count(c.misses)], ['Size', bytes(c.bytes)], ['Answers kept', count(c.resources)],
    ['Served stale', count(c.stale)], ['Confirmed upstream', count(c.validated)], ['Shared by waiting callers', count(c.collapsed)], ['Put out for want of room', count(c.evicted)],
    ['Made void', count(c.invalidations)], ['Not stored in Redis', c.storeFailures && count(c.storeFailures)]);
}

const redisTones = { up: 'good', troubled: 'warning', away: 'bad' };

export function redis(view) {
  const r = view.status.redis;
  if (!r) return quiet('Not configured: this replica shares nothing with others.');
  return facts(
    ['State', [badge(redisTones[r.state] ?? 'none', r.state), r.since && h('small', {}, ` since ${ago(r.since, view.now)}`)]], ['Why', r.reason], ['Kind', r.kind], ['Hosts', (r.hosts ?? []).join(', ')],
    ['Sealed', r.encrypted ? `yes, keys ${(r.keys ?? []).join(', ')}` : 'no: tokens and what belongs to an enterprise are not shared'],
    ['Gets invalidations', r.subscribed ? 'yes' : 'no'], ['Waiting to be told', count(r.untold)], ['Left alone', `${count(r.opened)} times`], ['Unreadable values', count(r.unreadable)]);
}

export function evidence(view) {
  const e = view.status.evidence;
  if (!e) return quiet('Not configured: nobody records who read what.');
  const bad = e.failing ? 'failing' : e.missing ? 'missing' : e.refusing && 'late';
  const state = bad ? badge('bad', [bad, e.refusing && 'requests are refused'].filter(Boolean).join(', ')) : e.shipping || e.stamping || e.lost > 0 ? badge('warning', 'with remarks') : badge('good', 'being kept');
  return facts(
    ['State', [state, e.since && h('small', {}, ` since ${ago(e.since, view.now)}`)]], ['Cannot be written', e.failing], ['Is missing', e.missing],
    ['Checkpoints are not handed out', e.shipping], ['Checkpoints get no time stamps', e.stamping],
    ['Lost', e.lost > 0 && `${count(e.lost)} records, for want of room`], ['Last record', `number ${count(e.sequence)}`], ['Signed up to', `number ${count(e.signed)}`],
    ['Recorded since the start', count(e.written)], ['Waiting for the disk', count(e.waiting)], ['Directory', e.directory && code(e.directory)], ['Replica', e.replica], ['Verifying key', e.key && code(e.key)]);
}

export function configuration(view) {
  const c = view.status.configuration;
  return [
    c.rejected && h('div', { class: 'rejected' },
      badge('warning', 'the files hold another that was not taken'),
      h('p', {}, moment(c.rejected.at, view.now), `, ${ago(c.rejected.at, view.now)}:`),
      h('ul', {}, c.rejected.errors.map((e) => h('li', {}, e)))),
    facts(
      ['In force since', [moment(c.since, view.now), `, ${ago(c.since, view.now)}`]], ['Hash', code(c.hash)], ['Environment', view.status.environment],
      ['Files', (c.files ?? []).map((f) => h('div', {}, code(f)))], ['Version', view.status.version]),
  ];
}

export function directory(view) {
  const d = view.status.directory;
  return [
    d.lastError && h('div', { class: 'rejected' }, badge('warning', 'the last try failed'), h('p', {}, d.lastError)),
    facts(
      ['List from', d.source], ['Age', d.ageSeconds !== undefined && d.lastSuccess && span(view.now - Date.parse(d.lastSuccess))], ['Last try', d.lastTry && ago(d.lastTry, view.now)],
      ['Providers', count(d.providers.length)]),
    (d.problems ?? []).length > 0 && h('ul', { class: 'remarks' }, d.problems.map((p) => h('li', {}, p))),
  ];
}

export function tenancy(view) {
  const t = view.status.tenancy;
  const l = view.status.listeners;
  return facts(
    ['Enterprises', t.mode === 'any' ? 'every valid number' : count(t.enterprises)], ['Suspended', count(t.suspended)], ['Caller rules', count(t.callers)],
    ['Internal endpoint', (l.internal ?? []).map((a) => h('div', {}, code(a)))], ['Admin listener', (l.admin ?? []).map((a) => h('div', {}, code(a)))]);
}
