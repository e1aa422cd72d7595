// Numbers and times as people read them.

import { h } from './dom.js';

const grouped = new Intl.NumberFormat('en-GB');

export const count = (n) => grouped.format(n ?? 0);

// rate is a number of requests a second.
export function rate(n) {
  if (!n) return '0';
  if (n < 0.01) return '< 0.01';
  return n < 10 ? n.toFixed(n < 1 ? 2 : 1) : grouped.format(Math.round(n));
}

export function percent(part, whole) {
  if (!whole) return '–';
  const p = (100 * part) / whole;
  if (p > 0 && p < 0.1) return '< 0.1 %';
  return `${p < 10 && p > 0 ? p.toFixed(1) : Math.round(p)} %`;
}

export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  for (n = n ?? 0; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

// milliseconds is a latency.
export function milliseconds(ms) {
  if (ms === undefined || ms === null) return '–';
  return ms < 1000 ? `${small(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
}

const small = (ms) => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));

// quantiles are three latencies in one unit.
export function quantiles({ p50, p95, p99 }) {
  const all = [p50, p95, p99];
  return p99 < 1000 ? `${all.map(small).join(' / ')} ms` : `${all.map((ms) => (ms / 1000).toFixed(ms < 10000 ? 2 : 1)).join(' / ')} s`;
}

// span is a stretch of time, given in milliseconds, to two units at most.
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 10) return s % 60 ? `${m} min ${s % 60} s` : `${m} min`;
  if (m < 90) return `${m} min`;
  const hours = Math.floor(m / 60);
  if (hours < 48) return m % 60 ? `${hours} h ${m % 60} min` : `${hours} h`;
  return `${grouped.format(Math.floor(hours / 24))} days`;
}

// moment is a time in UTC, as in the logs, with the date unless it is today's.
export function moment(text, now) {
  const t = new Date(text);
  if (Number.isNaN(t.getTime())) return '–';
  const iso = t.toISOString();
  const same = iso.slice(0, 10) === new Date(now).toISOString().slice(0, 10);
  return h('time', { datetime: text }, same ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 19)}`);
}

// ago and ahead set a time against now, both as text.
export const ago = (text, now) => `${span(now - Date.parse(text))} ago`;
export const ahead = (text, now) => {
  const left = Date.parse(text) - now;
  return left <= 0 ? 'now' : `in ${span(left)}`;
};

// enterprise is a CBE number in the form in which it is printed.
export const enterprise = (n) => (/^\d{10}$/.test(n) ? `${n.slice(0, 4)}.${n.slice(4, 7)}.${n.slice(7)}` : n);

// shortType is the last word of a problem's type.
export const shortType = (urn) => (urn ?? '').slice((urn ?? '').lastIndexOf(':') + 1);
