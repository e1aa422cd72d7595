// The state of the gateway, what needs attention, and the last minutes in figures.

import { h } from './dom.js';
import { badge, sign } from './parts.js';
import * as charts from './charts.js';
import { ago, count, milliseconds, moment, percent, rate, span } from './format.js';

const tones = { down: 'bad', failing: 'bad', degraded: 'warning', notice: 'notice' };
const words = { down: 'Down', failing: 'Failing', degraded: 'Degraded', notice: 'Notice' };

// headline is the state in a few words, for the banner, the title and a screen reader.
export function headline(view) {
  if (view.lost) return { tone: 'bad', text: 'Connection lost' };
  const worst = view.status.attention[0]?.severity;
  const health = view.status.health;
  if (health === 'DOWN' || worst === 'down') return { tone: 'bad', text: 'Down' };
  if (worst === 'failing') return { tone: 'bad', text: health === 'UP' ? 'Up, but calls fail' : 'Degraded, and calls fail' };
  if (health === 'DEGRADED') return { tone: 'warning', text: 'Degraded' };
  if (worst) return { tone: 'notice', text: 'Up' };
  return { tone: 'good', text: 'All is well' };
}

function explanation(view) {
  const { attention } = view.status;
  if (view.lost) {
    return `${view.lost.why} What is shown is ${span(view.age)} old. Trying again.`;
  }
  if (attention.length === 0) {
    const { minute } = view.activity.total;
    const active = view.status.directory.providers.filter((p) => p.state === 'active').length;
    return `${count(active)} Document Providers can be called, and ${minute.requests ? `${count(minute.requests)} requests in the last minute had no more errors than they may` : 'nobody has asked for anything in the last minute'}.`;
  }
  const serious = attention.filter((a) => a.severity !== 'notice').length;
  if (serious === 0) return attention.length === 1 ? 'One thing to know.' : `${attention.length} things to know.`;
  return serious === 1 ? 'One thing needs attention.' : `${serious} things need attention.`;
}

// state is the banner and the list below it.
export function state(view) {
  const { tone, text } = headline(view);
  return [
    h('div', { class: `banner ${tone}` },
      sign(tone),
      h('div', {},
        h('h2', { id: 'state-heading', tabindex: '-1' }, text),
        h('p', {}, explanation(view)))),
    view.status.attention.length > 0 && h('ul', { class: 'attention', 'aria-label': 'What needs attention' },
      view.status.attention.map((a) => h('li', {},
        badge(tones[a.severity] ?? 'none', words[a.severity] ?? a.severity),
        h('div', {}, h('strong', {}, a.part), ' ', h('span', {}, a.text),
          (a.remedy || a.runbook) && h('p', { class: 'remedy' }, a.remedy, a.remedy && ' ', a.runbook && h('a', { href: a.runbook }, 'What to do')))))),
  ];
}

const figure = (name, value, note, chart) => h('div', { class: 'figure' },
  h('h3', {}, name), h('p', { class: 'value' }, value), h('p', { class: 'note' }, note), chart);

// figures are the last minute in numbers, above the last quarter of an hour.
export function figures(view) {
  const { total } = view.activity;
  const { minute, window } = total;
  const { cache } = view.status;
  const failed = minute.gatewayErrors + minute.upstreamErrors;
  const asked = cache.hits + cache.misses;
  return [
    figure('Requests', [rate(minute.perSecond), h('small', {}, ' /s')], `${count(window.requests)} in 15 minutes`, charts.requests(total)),
    figure('Errors in the last minute', [count(failed), h('small', {}, ` ${percent(failed, minute.requests)}`)],
      `${count(minute.gatewayErrors)} by the gateway, ${count(minute.upstreamErrors)} upstream; ${count(minute.refused)} refused (4xx)`, charts.errors(total)),
    figure('Latency, 95th percentile', minute.requests ? milliseconds(minute.p95) : '–',
      minute.requests ? `median ${milliseconds(minute.p50)}, 99th ${milliseconds(minute.p99)}` : 'no request in the last minute', charts.latency(total)),
    figure('Cache hits', percent(cache.hits, asked), `${count(cache.hits)} of ${count(asked)} since the start${cache.validated ? `; ${count(cache.validated)} more after a 304 from upstream` : ''}`,
      h('svg', { class: 'chart meter', role: 'img', 'aria-label': `Cache hits: ${percent(cache.hits, asked)}`, viewBox: '0 0 90 28', preserveAspectRatio: 'none', focusable: 'false' },
        h('path', { class: 'rest', d: 'M0 22H90V28H0Z' }),
        h('path', { class: 'share', d: `M0 22H${asked ? ((90 * cache.hits) / asked).toFixed(1) : 0}V28H0Z` }))),
  ];
}

// identity says which gateway this is.
export const identity = (view) => [
  h('strong', {}, view.status.environment), ` · version ${view.status.version} · up for ${span(view.now - Date.parse(view.status.startedAt))} · `, moment(new Date(view.now).toISOString(), view.now), ' UTC',
];

// picture says how old what is shown is.
export function picture(view) {
  if (view.paused) return badge('notice', `Paused, ${span(view.age)} old`);
  if (view.lost) return badge('bad', `Connection lost, ${span(view.age)} old`);
  return badge('good', `Live, ${view.age < 1500 ? 'just now' : ago(new Date(view.now - view.age).toISOString(), view.now)}`);
}
