// How the page is changed: in place and only where something differs, so that who reads, selects or
// has walked somewhere is not disturbed. All that is written is text.

const byId = (id) => document.getElementById(id);

// make is a new element; what is given to it is text or elements.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function put(node, text) {
  const t = printable(text);
  if (node.textContent !== t) node.textContent = t;
}

function mark(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function show(node, on) {
  if (node.hidden === Boolean(on)) node.hidden = !on;
}

// keyed has the children of a parent, behind an element that stays, be the views of items. Views whose
// item is still there are kept.
function keyed(parent, items, key, view, behind = null) {
  const old = parent.views ?? new Map(), next = new Map();
  let place = behind ? behind.nextSibling : parent.firstChild;
  for (const item of items) {
    let k = key(item);
    while (next.has(k)) k += "\n";
    const v = old.get(k) ?? view(item);
    next.set(k, v);
    v.update(item);
    if (v.node === place) place = place.nextSibling;
    else parent.insertBefore(v.node, place);
  }
  for (const [k, v] of old) if (!next.has(k)) v.node.remove();
  parent.views = next;
}

const svg = "http://www.w3.org/2000/svg";
const height = 16;

// spark is an empty line of values over time.
function spark(width) {
  const node = document.createElementNS(svg, "svg");
  node.setAttribute("class", "spark");
  node.setAttribute("width", width);
  node.setAttribute("height", height);
  node.setAttribute("aria-hidden", "true"); // the number stands beside it
  node.append(document.createElementNS(svg, "path"));
  node.values = width;
  return node;
}

// draw draws values from 0 to most; where there is none the line is broken.
function draw(node, values, most) {
  const step = node.values / (Math.max(values.length, 30) - 1); // at first there are few
  let d = "", pen = false, x = node.values - step * (values.length - 1);
  for (const v of values) {
    if (v !== null) {
      const y = (height - 1 - (most > 0 ? Math.min(1, v / most) : 0) * (height - 2)).toFixed(1);
      d += pen ? `L${x.toFixed(1)} ${y}` : `M${x.toFixed(1)} ${y}h.01`;
    }
    pen = v !== null;
    x += step;
  }
  mark(node.firstChild, "d", d);
}

const most = (values) => values.reduce((a, b) => b !== null && b > a ? b : a, 0);
