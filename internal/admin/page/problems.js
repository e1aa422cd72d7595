// The last problems, to be searched by whatever somebody has: a request id from a
// caller, an enterprise, a status.

import { h } from './dom.js';
import { badge, code, facts } from './parts.js';
import { ago, count, enterprise, milliseconds, moment, shortType, span } from './format.js';

const firstShown = 25;

// searched is what the search looks through, all in lower case.
function searched(p) {
  return [p.requestId, p.parentId, p.status, p.by, p.type, p.proxyError, p.detail, p.method, p.path, p.route, p.provider, p.caller, p.source, p.actor,
    p.enterprise, p.enterprise && enterprise(p.enterprise), p.claimed, p.upstream, p.upstreamHost, p.upstreamStatus, p.missingScopes, p.traceId, p.answerTraceId, p.cut && 'cut']
    .filter(Boolean).join('\n').toLowerCase();
}

// found are the problems that the search is for: each of its words stands somewhere.
export function found(problems, query, kind) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return problems.filter((p) => {
    const error = p.status >= 500 || p.cut;
    if ((kind === 'errors' && !error) || (kind === 'refusals' && error)) return false;
    if (words.length === 0) return true;
    const text = searched(p);
    return words.every((w) => text.includes(w));
  });
}

const toneOf = (p) => (p.status >= 500 || (p.cut && p.by !== 'caller') ? 'bad' : p.by === 'caller' ? 'none' : 'warning');

function what(p) {
  if (p.by === 'caller') return 'the caller did not wait for its answer';
  if (p.cut) return 'the upstream did not finish its answer';
  if (p.type) return shortType(p.type);
  return 'the upstream’s own answer';
}

function row(p, view, ui) {
  const open = ui.open.has(p.requestId);
  return h('details', {
    key: p.requestId, id: p.requestId, class: ui.target === p.requestId ? 'problem target' : 'problem',
    ontoggle: (event) => ui.toggled(p.requestId, event.currentTarget.open),
  },
  h('summary', {},
    h('span', { class: 'when' }, moment(p.time, view.now)),
    badge(toneOf(p), `${p.status} ${p.by}`),
    h('span', { class: 'where' }, p.provider || p.route || 'no route', p.provider && h('small', {}, p.route)),
    h('span', { class: 'who' }, p.enterprise ? enterprise(p.enterprise) : p.claimed && `asked for ${p.claimed}`, p.caller && h('small', {}, p.caller)),
    h('span', { class: 'what' }, what(p)),
    h('span', { class: 'id' }, p.requestId)),
  open && facts(
    ['When', [moment(p.time, view.now), `, ${ago(p.time, view.now)}, after ${milliseconds(p.milliseconds)}`]],
    ['What the caller was told', p.detail],
    ['Problem type', p.type && code(p.type)],
    ['Kind of failure', p.proxyError && code(p.proxyError)],
    ['Request', code(`${p.method} ${p.path}`)],
    ['Caller', [p.caller, p.source].filter(Boolean).join(', from ')],
    ['Actor', p.actor],
    ['Enterprise', p.enterprise && enterprise(p.enterprise)],
    ['Asked for', p.claimed],
    ['Upstream', [p.upstream, p.upstreamHost, p.upstreamStatus ? `answered ${p.upstreamStatus}` : p.tries ? 'gave no answer' : 'was not asked', p.tries && `${p.tries} ${p.tries === 1 ? 'try' : 'tries'}`].filter(Boolean).join(', ')],
    ['Scopes that the upstream asks for', p.missingScopes && code(p.missingScopes)],
    ['Request id', [code(p.requestId), ' ', h('a', { href: `#${p.requestId}` }, 'link to this')]],
    ['Part of request', p.parentId && h('a', { href: `#${p.parentId}` }, code(p.parentId))],
    ['BelGov-Trace-Id sent', p.traceId && code(p.traceId)],
    ['BelGov-Trace-Id answered', p.answerTraceId && code(p.answerTraceId)]));
}

// group is one line for problems of one kind; opened, it shows the last of them but for one
// that is shown by itself.
function group(g, list, named, view, ui) {
  const open = ui.open.has(g.id);
  const whom = [g.enterprises === 1 && list[0].enterprise ? `one enterprise, ${enterprise(list[0].enterprise)}` : g.enterprises > 0 && `${count(g.enterprises)}${g.enterprises >= 100 ? ' or more' : ''} enterprises`,
    g.callers > 1 && `${count(g.callers)} callers`].filter(Boolean).join(', ');
  return h('details', { key: g.id, id: g.id, class: 'problem group', open: open || null, ontoggle: (event) => ui.toggled(g.id, event.currentTarget.open) },
    h('summary', {},
      h('span', { class: 'when' }, moment(g.last, view.now)),
      badge(toneOf(list[0]), `${g.status} ${g.by}`),
      h('span', { class: 'where' }, g.provider || g.route || 'no route', g.provider && h('small', {}, g.route)),
      h('span', { class: 'who' }, whom),
      h('span', { class: 'what' }, what(list[0])),
      h('span', { class: 'times' }, `${count(g.count)} times in ${span(Math.max(Date.parse(g.last) - Date.parse(g.first), 1000))}`)),
    open && h('div', { class: 'members' }, g.count > list.length && h('p', { class: 'quiet' }, `The last ${count(list.length)}; the access log has all.`), list.filter((p) => p !== named).map((p) => row(p, view, ui))));
}

// problems lists them by their kind, or one by one if something is searched.
export function problems(view, ui) {
  const all = view.activity.problems;
  const list = found(all, ui.query, ui.kind);
  const missing = ui.target && !all.some((p) => p.requestId === ui.target);
  const named = ui.target && all.find((p) => p.requestId === ui.target);
  const searching = ui.query.trim() !== '';
  const byId = new Map(list.map((p) => [p.requestId, p]));
  const groups = (view.activity.groups ?? []).map((g) => [g, g.problems.map((id) => byId.get(id)).filter(Boolean)]).filter(([, members]) => members.length > 0);
  const shown = searching ? list.slice(0, ui.all ? list.length : firstShown) : [];
  return [
    missing && h('p', { class: 'missing', role: 'status' }, 'The request ', code(ui.target),
      ' is not among the problems that this replica remembers. Every request has a line in the access log of the replica that served it: search that for the id.'),
    h('p', { class: 'quiet', 'aria-live': 'polite' }, all.length === 0 ? 'No request has had a problem since the start.'
      : searching ? `${count(list.length)} of the last ${count(all.length)} problems, the newest first`
        : `${count(groups.length)} ${groups.length === 1 ? 'kind' : 'kinds'} of problems, errors first`),
    h('div', { class: 'list' }, named && !shown.includes(named) && row(named, view, ui), searching ? shown.map((p) => row(p, view, ui)) : groups.map(([g, members]) => group(g, members, named, view, ui))),
    searching && list.length > shown.length && h('button', { type: 'button', onclick: ui.showAll }, `Show all ${count(list.length)}`),
  ];
}
