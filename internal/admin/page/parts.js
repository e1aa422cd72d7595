// The small parts that every section is made of.

import { h } from './dom.js';

// The shapes tell states apart for whoever does not see the colours; the word stands
// beside them in any case.
const shapes = {
  good: 'M3.2 8.4l3.1 3.2 6.5-7.2',
  notice: 'M8 1.4a6.6 6.6 0 1 0 .01 0ZM8 7.4v3.9M8 4.7v.2',
  warning: 'M8 1.8 14.6 13.6H1.4ZM8 6v3.6M8 11.4v.3',
  bad: 'M4 4l8 8M12 4l-8 8',
  none: 'M4 8h8',
};

export const sign = (tone) => h('svg', { class: 'sign', viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false' }, h('path', { d: shapes[tone] ?? shapes.none }));

// badge is a word with its shape.
export const badge = (tone, ...words) => h('span', { class: `badge ${tone}` }, sign(tone), h('span', {}, words));

// facts is a list of names and values; those without a value are left out.
export const facts = (...pairs) => h('dl', { class: 'facts' },
  pairs.filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== false)
    .map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));

// table keeps its roles on a phone, where its rows become cards.
export function table(caption, columns, rows) {
  return h('table', { role: 'table', class: 'data' },
    h('caption', { class: 'unseen' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map((c) => h('th', { role: 'columnheader', scope: 'col', class: c.number ? 'number' : null }, c.name)))),
    h('tbody', { role: 'rowgroup' }, rows.map((row) => h('tr', { role: 'row', key: row.key, class: row.tone ?? null },
      row.cells.map((cell, i) => h(i === 0 ? 'th' : 'td', {
        role: i === 0 ? 'rowheader' : 'cell', scope: i === 0 ? 'row' : null, 'data-name': columns[i].name, class: columns[i].number ? 'number' : columns[i].class ?? null,
      }, cell))))));
}

export const quiet = (...words) => h('p', { class: 'quiet' }, words);
export const code = (text) => h('code', {}, text);
