// The picture: time runs to the right, lateness rises like a ripple from the surface of the pool.

const space = { left: 44, right: 8, top: 10, bottom: 50 };
const depth = 30; // of the water under the surface, in pixels
const minute = 60_000;
const steps = [15_000, 30_000, minute, 2 * minute]; // between two times on the axis
const room = 90; // pixels that a time on the axis wants
const least = 8; // ms: the scale never zooms in further, so that calm looks calm

export class Picture {
  #svg;
  #parts;

  constructor(svg) {
    this.#svg = svg;
    const add = (tag, name) => svg.appendChild(element(tag, { class: name }));
    this.#parts = {
      grid: add("g", "scale"),
      opened: add("g", "opened"),
      ripples: add("path", "ripples"),
      water: svg.appendChild(element("rect", { fill: "url(#water)" })),
      surface: add("path", "surface"),
    };
  }

  draw({ points, opened }, now) {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    if (width === 0) return;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const scale = scales(points, now, width, height);
    this.#drawScale(scale, width);
    this.#drawPool(scale, width);
    this.#parts.ripples.setAttribute("d", ripples(points, scale));
    this.#parts.opened.replaceChildren(...opened.filter((at) => scale.x(at) >= space.left).flatMap((at) => mark(at, scale)));
  }

  #drawPool({ surface }, width) {
    const right = width - space.right;
    this.#parts.surface.setAttribute("d", `M${space.left} ${surface}H${right}`);
    set(this.#parts.water, { x: space.left, y: surface, width: right - space.left, height: depth });
  }

  #drawScale({ x, y, top, span, surface, now }, width) {
    const marks = [];
    for (let i = 0; i <= 4; i++) {
      const value = (top * i) / 4;
      if (i > 0) marks.push(element("path", { class: "grid", d: `M${space.left} ${y(value)}H${width - space.right}` }));
      marks.push(text(i === 4 ? `${number(value)} ms` : number(value), space.left - 8, y(value) + 4, "end"));
    }
    const step = steps.find((ms) => (ms / span) * width >= room) ?? steps.at(-1);
    for (let ago = 0; ago <= span; ago += step) {
      const at = x(now - ago);
      const place = ago === 0 ? "end" : at - space.left < room / 3 ? "start" : "middle";
      marks.push(text(ago === 0 ? "now" : `${clock(ago)} ago`, at, surface + depth + 15, place));
    }
    this.#parts.grid.replaceChildren(...marks);
  }
}

// scales fits both axes to what there is: one minute up to three, and a round number of ms.
function scales(points, now, width, height) {
  const oldest = points.length ? now - points[0].at : 0;
  const span = Math.min(3 * minute, Math.max(minute, oldest));
  const seen = points.filter((p) => p.at >= now - span);
  const top = round(seen.reduce((most, p) => Math.max(most, p.late), least));
  const surface = height - space.bottom;
  const right = width - space.right;
  return {
    now, span, top, surface,
    x: (at) => right - ((now - at) / span) * (right - space.left),
    y: (late) => surface - (late / top) * (surface - space.top),
  };
}

// mark shows where a connection was opened; its word stands on the side that has room.
function mark(at, { x, surface, now, span }) {
  const place = x(at);
  const old = now - at > span / 2;
  return [
    element("path", { d: `M${place} ${space.top}V${surface}` }),
    text("opened", place + (old ? 5 : -5), space.top + 14, old ? "start" : "end"),
  ];
}

// ripples draws one line for each pixel column: the worst of the messages that share it. One that
// was not late at all still shows, two pixels high.
function ripples(points, { x, y, surface }) {
  const columns = new Map();
  for (const { at, late } of points) {
    const column = Math.round(x(at));
    if (column >= space.left) columns.set(column, Math.max(columns.get(column) ?? 0, late));
  }
  return [...columns].map(([column, late]) => `M${column} ${surface}V${Math.min(surface - 2, y(late)).toFixed(1)}`).join("");
}

// round answers the next of 8, 10, 20, 40, 80, 100, 200, … that holds the value: all divide by four
// into short numbers.
function round(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 8, 10].map((n) => n * ten).find((n) => n >= value);
}

function number(value) {
  return Number(value.toPrecision(3)).toLocaleString("en");
}

function clock(span) {
  return span % minute === 0 ? `${span / minute} min` : `${span / 1000} s`;
}

function text(words, x, y, anchor) {
  const node = element("text", { x, y, "text-anchor": anchor });
  node.textContent = words;
  return node;
}

function element(tag, attributes) {
  return set(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes);
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
