// Charts small enough to stand in a row: one figure for each slot of the last minutes.

import { h } from './dom.js';
import { count, milliseconds } from './format.js';

const height = 28;

// steps is the outline of bars without gaps, from the bottom and back to it.
function steps(values, top) {
  let d = `M0 ${height}`;
  values.forEach((v, i) => {
    const y = (height - (v > 0 ? Math.max((v / top) * height, 1) : 0)).toFixed(1);
    d += `V${y}H${i + 1}`;
  });
  return `${d}V${height}Z`;
}

// line joins the slots that had requests; where there were none it has gaps.
function line(values, top, present) {
  let d = '';
  let down = false;
  values.forEach((v, i) => {
    if (!present[i]) {
      down = false;
      return;
    }
    const y = (height - Math.min(v / top, 1) * (height - 2) - 1).toFixed(1);
    d += down ? `L${i + 0.5} ${y}` : `M${i} ${y}H${i + 0.5}`;
    down = true;
    if (!present[i + 1]) d += `H${i + 1}`;
  });
  return d || 'M0 0';
}

const frame = (label, kind, ...paths) => h('svg', {
  class: `chart ${kind}`, role: 'img', 'aria-label': label, viewBox: `0 0 90 ${height}`, preserveAspectRatio: 'none', focusable: 'false',
}, h('path', { class: 'floor', d: `M0 ${height}H90` }), paths);

// requests shows how many there were, and of these the errors.
export function requests(series) {
  const errors = series.requests.map((_, i) => series.gatewayErrors[i] + series.upstreamErrors[i]);
  const most = Math.max(...series.requests, 1);
  const label = `Requests of the last 15 minutes: ${count(series.window.requests)}, at most ${count(most)} in 10 seconds, ${count(series.window.gatewayErrors + series.window.upstreamErrors)} errors`;
  return frame(label, 'requests', h('path', { class: 'all', d: steps(series.requests, most) }), h('path', { class: 'errors', d: steps(errors, most) }));
}

// errors shows them alone, those of the gateway upon those of the upstream.
export function errors(series) {
  const both = series.requests.map((_, i) => series.gatewayErrors[i] + series.upstreamErrors[i]);
  const most = Math.max(...both, 1);
  const label = `Errors of the last 15 minutes: ${count(series.window.gatewayErrors)} by the gateway, ${count(series.window.upstreamErrors)} by an upstream`;
  return frame(label, 'faults', h('path', { class: 'errors', d: steps(both, most) }), h('path', { class: 'upstream', d: steps(series.upstreamErrors, most) }));
}

// latency shows the median and the slow end.
export function latency(series) {
  const present = series.requests.map((n) => n > 0);
  const most = Math.max(...series.p95, 1);
  const label = `Latency of the last 15 minutes: median ${milliseconds(series.window.p50)}, 95th percentile ${milliseconds(series.window.p95)}, 99th ${milliseconds(series.window.p99)}`;
  return frame(label, 'latency', h('path', { class: 'p95', d: line(series.p95, most, present) }), h('path', { class: 'p50', d: line(series.p50, most, present) }));
}
