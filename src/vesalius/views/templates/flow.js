// Information flow: the unit that is pointed at, or reached with the keys, shows its edges; one that is chosen, the strongest paths through it.
// Columns that are parts of one module collapse into a block, and open again.
const HALF = 19;
const READABLE = 12;
const place = (node, facts) => Object.entries(facts).forEach(([name, value]) => node.setAttribute(name, value));
for (const net of main.querySelectorAll("svg.flow[data-units]")) {
  const units = JSON.parse(net.dataset.units);
  const spots = [...net.querySelectorAll(".unit")];
  const blocks = [...net.querySelectorAll(".block")];
  const marks = [...spots, ...blocks];
  const edges = [...net.querySelectorAll(".edge")];
  const ends = edges.map((edge) => edge.dataset.ends.split(" "));
  const rays = edges.map((edge) => /^M(-?[\d.]+) (-?[\d.]+)/.exec(edge.getAttribute("d")).slice(1).map(Number));
  const image = net.querySelector(".picture");
  const rest = image?.getAttribute("href");
  const trail = net.querySelector(".trail");
  const flowbox = net.closest(".flowbox");
  const box = flowbox.querySelector(".readout");
  const [name, facts, strip, spread, list] = ["b", "p span", "div", ":scope > div span", "ol"].map((part) => box.querySelector(part));
  const fed = image ? ", and what flows into it from the picture" : "";
  const folded = blocks.length ? " A block opens and closes when it is chosen." : "";
  const hint = `Point at a unit, or go from one to the next with the arrow keys, to see its edges${fed}; click or tap it, or press Enter, to follow the strongest paths through it.${folded}`;
  const { columns: count, left, right, least, column, top, gap } = Object.fromEntries(Object.entries(net.dataset).map(([key, value]) => [key, Number(value)]));
  const layerOf = spots.map((spot) => Number(spot.dataset.layer));
  const blockOf = Array.from({ length: count }, (_, at) => blocks.findIndex((block) => block.dataset.first <= at && at <= block.dataset.last));
  const closed = new Set(count > READABLE ? blocks.keys() : []);
  const high = net.viewBox.baseVal.height;
  let held = -1;
  let across = [];
  let indices = [];
  const shut = (at) => closed.has(blockOf[at]);
  const spotX = (unit) => across[layerOf[unit]];
  const spotY = (unit) => Number(spots[unit].getAttribute("cy"));
  const curve = ([a, b], [c, d], rise = 0) => `M${a.toFixed(1)} ${b.toFixed(1)}${bend([a, b], [c, d], rise)}`;
  const bend = ([a, b], [c, d], rise) => {
    const reach = 0.46 * (c - a);
    return `C${[a + reach, Math.max(b - rise, top), c - reach, Math.max(d - rise, top), c, d].map((side) => side.toFixed(1)).join(" ")}`;
  };
  const stop = (one) => (Array.isArray(one) ? one : [spotX(one), spotY(one)]);

  function arrange() {
    let last = -1;
    indices = [];
    for (let at = 0, index = -1; at < count; at++) {
      if (!shut(at) || blockOf[at] !== last) index++;
      last = shut(at) ? blockOf[at] : -1;
      indices.push(index);
    }
    const shown = indices.at(-1) + 1;
    const wide = Math.max(least, column * shown + Math.max(gap - column, 0));
    const step = (wide - left - right) / Math.max(shown - 1, 1);
    const second = left + Math.max(step, gap);
    const later = shown > 2 ? (wide - right - second) / (shown - 2) : 0;
    across = indices.map((index) => (index ? (shown > 2 ? second + later * (index - 1) : wide - right) : left));
    net.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    net.style.minWidth = wide > least ? `${wide}px` : "";
    spots.forEach((spot, i) => {
      spot.toggleAttribute("hidden", shut(layerOf[i]));
      spot.setAttribute("cx", spotX(i));
    });
    net.querySelectorAll(".label").forEach((label) => {
      label.toggleAttribute("hidden", shut(label.dataset.layer));
      label.setAttribute("x", across[label.dataset.layer] + Number(label.dataset.aside));
    });
    net.querySelectorAll(".column").forEach((group) => {
      group.toggleAttribute("hidden", shut(group.dataset.layer));
      group.setAttribute("transform", group.getAttribute("transform").replace(/\(-?[\d.]+/, `(${across[group.dataset.layer].toFixed(1)}`));
    });
    edges.forEach((edge, i) => {
      const [first, second] = ends[i].map((end) => (end === "m" ? -1 : Number(end)));
      const from = first < 0 ? -1 : layerOf[first];
      const to = layerOf[second];
      const inside = first >= 0 && shut(from) && blockOf[from] === blockOf[to];
      edge.toggleAttribute("hidden", inside);
      if (inside) return;
      const start = first < 0 ? rays[i] : [across[from] + (shut(from) ? HALF : 0), spotY(first)];
      const rise = first >= 0 && indices[to] - indices[from] > 1 ? Number(edge.dataset.rise) : 0;
      edge.setAttribute("d", curve(start, [across[to] - (shut(to) ? HALF : 0), spotY(second)], rise));
    });
    blocks.forEach((block, i) => {
      const [frame, label] = block.children;
      const { first, last, name, units } = block.dataset;
      const [start, end] = [across[first], across[last]];
      const open = !closed.has(i);
      const edge = open ? 16 : HALF;
      const middle = (start + end) / 2;
      place(frame, { x: start - edge, width: end - start + 2 * edge });
      label.textContent = `${open ? "\u2212" : "+"} ${name}`;
      const centre = Number(frame.getAttribute("y")) + Number(frame.getAttribute("height")) / 2;
      place(label, open ? { x: middle, y: top - 20, transform: "" } : { x: 0, y: 0, transform: `translate(${middle + 4.5} ${centre}) rotate(-90)` });
      block.classList.toggle("closed", !open);
      place(block, { "aria-expanded": open, "aria-label": `${name}, ${last - first + 1} layers, ${units} units` });
    });
  }
  const shape = (kind, known) => {
    const made = document.createElementNS(net.namespaceURI, kind);
    place(made, known);
    return made;
  };
  // A path through a block that is closed goes into it and out again.
  const follow = ([stops], rank) => {
    const ways = stops.map(stop);
    const way = ways.slice(1).reduce((d, spot, i) => d + (spot[0] === ways[i][0] ? `L${spot}` : bend(ways[i], spot, 0)), `M${ways[0]}`);
    const dots = Array.isArray(stops[0]) ? [shape("circle", { cx: ways[0][0], cy: ways[0][1], r: 4 })] : [];
    return [shape("path", { d: way, "stroke-width": 3.2 - rank, opacity: 0.9 - 0.2 * rank }), ...dots];
  };
  const show = (own) => {
    const unit = units[own];
    const block = blocks[own - spots.length];
    const near = new Set([own, ...(own === held && unit ? unit.paths.flatMap(([stops]) => stops) : [])]);
    edges.forEach((edge, i) => {
      const on = block ? ends[i].some((end) => end !== "m" && blockOf[layerOf[end]] === own - spots.length) : ends[i].includes(`${own}`);
      edge.classList.toggle("near", on && own !== held);
      if (on && own !== held) ends[i].forEach((end) => near.add(+end));
    });
    spots.forEach((spot, i) => spot.classList.toggle("near", near.has(i)));
    net.classList.toggle("on", !!unit || !!block);
    net.classList.toggle("held", !!unit && own === held);
    trail.replaceChildren(...(unit && own === held ? unit.paths.flatMap(follow) : []));
    image?.setAttribute("href", unit?.map || rest);
    name.textContent = unit?.name || block?.dataset.name || "";
    facts.textContent = unit?.facts || (block ? `${block.dataset.last - block.dataset.first + 1} layers, ${block.dataset.units} units` : hint);
    strip.hidden = !unit?.bars;
    strip.querySelector("path").setAttribute("d", unit?.bars || "");
    spread.textContent = unit?.spread || "";
    list.replaceChildren(...(unit?.paths || []).map(([, words]) => make("li", { textContent: words })));
  };
  const hold = (own) => {
    if (own >= spots.length) {
      const block = own - spots.length;
      closed.has(block) ? closed.delete(block) : closed.add(block);
      redraw();
    } else {
      held = held === own ? -1 : own;
      spots.forEach((spot, i) => spot.setAttribute("aria-pressed", i === held));
    }
    show(own);
  };
  const leave = () => show(held);
  const release = () => {
    held = -1;
    spots.forEach((spot) => spot.setAttribute("aria-pressed", "false"));
    show(-1);
  };
  // The mark that is next in a direction: up and down in a column, left and right in the nearest column that has one.
  const spotOf = (own) => {
    const block = blocks[own - spots.length];
    if (!block) return [indices[layerOf[own]], spotY(own)];
    return [indices[block.dataset.first], closed.has(own - spots.length) ? top + high / 2 : top - 20];
  };
  const beside = (own, key) => {
    const [x, y] = spotOf(own);
    const others = marks.map((_, i) => i).filter((i) => i !== own && !marks[i].hasAttribute("hidden")).map((i) => [i, ...spotOf(i)]);
    const best = (some, cost) => some.reduce((one, other) => (!one || cost(other) < cost(one) ? other : one), undefined)?.[0];
    if (key === "ArrowUp") return best(others.filter(([, a, b]) => a === x && b < y), ([, , b]) => y - b);
    if (key === "ArrowDown") return best(others.filter(([, a, b]) => a === x && b > y), ([, , b]) => b - y);
    const sign = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (sign) return best(others.filter(([, a]) => sign * (a - x) > 0), ([, a, b]) => 1e4 * Math.abs(a - x) + Math.abs(b - y));
    if (key === "Home" || key === "End") return best(others, ([, a, b]) => (key === "Home" ? 1 : -1) * (1e4 * a + b));
    return undefined;
  };
  spots.forEach((spot, i) => {
    spot.querySelector("title").remove();
    spot.setAttribute("aria-label", `${units[i].name}: ${units[i].facts}`);
    spot.setAttribute("aria-pressed", "false");
  });
  marks.forEach((mark, i) => mark.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && held < 0 && show(i)));
  net.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
  net.addEventListener("click", (event) => {
    const block = event.target.closest(".block");
    const own = block ? spots.length + blocks.indexOf(block) : event.target.matches(".unit") ? spots.indexOf(event.target) : nearest(spots, event);
    own < 0 ? release() : hold(own);
  });
  const reach = roving(net, marks, { show: (own) => (held < 0 || own === held) && show(own), hold, leave, beside });
  net.addEventListener("keydown", (event) => event.key === "Escape" && release());
  const all = make("button", { type: "button" });
  function redraw() {
    arrange();
    reach.settle();
    all.textContent = closed.size ? "Open all blocks" : "Close all blocks";
  }
  all.addEventListener("click", () => {
    const some = closed.size > 0;
    blocks.forEach((_, i) => (some ? closed.delete(i) : closed.add(i)));
    redraw();
    leave();
  });
  if (blocks.length) flowbox.prepend(make("div", { className: "tools filters" }, all));
  box.hidden = false;
  redraw();
  show(-1);
}
