// What the page shows is described as a tree of plain objects and then compared with
// what stands there, so that an update moves no focus, closes nothing that was opened
// and unselects no text. Text only ever becomes a text node.

const namespace = 'http://www.w3.org/2000/svg';
const drawn = new Set(['svg', 'path', 'line', 'circle', 'rect', 'g']);
const described = new WeakMap(); // node -> the properties it was made of

// h describes an element. Properties are attributes; those that begin with "on" are
// listeners, key tells children apart, and what is null, undefined or false is left out.
export function h(tag, properties, ...children) {
  return { tag, properties: properties ?? {}, children: children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false) };
}

// show makes the children of a node those that are described.
export function show(parent, ...children) {
  reconcile(parent, children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
}

function reconcile(parent, wanted) {
  const keyed = new Map();
  for (const node of parent.childNodes) {
    const key = described.get(node)?.key;
    if (key !== undefined) keyed.set(key, node);
  }
  let here = parent.firstChild;
  for (const want of wanted) {
    const key = want.properties?.key;
    let node = key !== undefined ? keyed.get(key) : here;
    if (node && !fits(node, want)) node = undefined;
    if (node === undefined || node === null) {
      node = make(want);
      parent.insertBefore(node, here);
    } else if (node === here) {
      here = here.nextSibling;
    } else {
      parent.insertBefore(node, here);
    }
    update(node, want);
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

function fits(node, want) {
  if (typeof want !== 'object') return node.nodeType === Node.TEXT_NODE;
  return node.nodeType === Node.ELEMENT_NODE && node.localName === want.tag && described.get(node)?.key === want.properties.key;
}

function make(want) {
  if (typeof want !== 'object') return document.createTextNode('');
  return drawn.has(want.tag) ? document.createElementNS(namespace, want.tag) : document.createElement(want.tag);
}

function update(node, want) {
  if (typeof want !== 'object') {
    const text = String(want);
    if (node.nodeValue !== text) node.nodeValue = text;
    return;
  }
  const before = described.get(node) ?? {};
  for (const [name, value] of Object.entries(want.properties)) {
    if (name === 'key' || before[name] === value) continue;
    if (name.startsWith('on')) node[name] = value;
    else if (value === null || value === undefined || value === false) node.removeAttribute(name);
    else node.setAttribute(name, value === true ? '' : value);
  }
  for (const name of Object.keys(before)) {
    if (name in want.properties) continue;
    if (name.startsWith('on')) node[name] = null;
    else node.removeAttribute(name);
  }
  described.set(node, want.properties);
  reconcile(node, want.children);
}
