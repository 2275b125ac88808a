const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
const heads = [...document.querySelectorAll("h2[id]")];
function mark() {
  const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
  const read = heads.filter((h) => h.getBoundingClientRect().top < innerHeight / 3);
  const on = end && scrollY > 0 ? heads.at(-1) : read.at(-1) || heads[0];
  links.forEach((a, id) => a.classList.toggle("on", id === on.id));
}
addEventListener("scroll", mark, { passive: true });

for (const map of document.querySelectorAll("svg.partners")) {
  const rows = JSON.parse(map.dataset.partners);
  const parts = [...map.querySelectorAll("path")];
  const rest = parts.map((part) => part.getAttribute("fill"));
  const paint = (fills, own) => parts.forEach((part, i) => part.setAttribute("fill", i === own ? "currentColor" : fills[i]));
  parts.forEach((part, i) => part.addEventListener("pointerenter", () => paint(rows[i], i)));
  map.addEventListener("pointerleave", () => paint(rest, -1));
  map.closest("figure").querySelector(".hint").hidden = false;
}

for (const net of document.querySelectorAll("svg.flow[data-units]")) {
  const units = JSON.parse(net.dataset.units);
  const spots = [...net.querySelectorAll(".unit")];
  const edges = [...net.querySelectorAll(".edge")];
  const ends = edges.map((edge) => edge.dataset.ends.split(" "));
  const image = net.querySelector(".picture");
  const rest = image?.getAttribute("href");
  const trail = net.querySelector(".trail");
  const box = net.closest(".flowbox").querySelector(".readout");
  const [name, facts, strip, spread, list] = ["b", "p span", "div", ":scope > div span", "ol"].map((part) => box.querySelector(part));
  const hint = `Point at a unit to see its edges${image ? ", and what flows into it from the picture" : ""}; click it to follow the strongest paths through it.`;
  let held = -1;
  const place = (stop) => (Array.isArray(stop) ? stop : ["cx", "cy"].map((side) => +spots[stop].getAttribute(side)));
  const shape = (kind, facts) => {
    const made = document.createElementNS(net.namespaceURI, kind);
    Object.entries(facts).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  };
  const follow = ([stops], rank) => {
    const [first, ...others] = stops.map(place);
    const curve = others.reduce(([d, [a, b]], [c, e]) => [`${d}C${a + 0.46 * (c - a)} ${b} ${c - 0.46 * (c - a)} ${e} ${c} ${e}`, [c, e]], [`M${first}`, first])[0];
    const marks = Array.isArray(stops[0]) ? [shape("circle", { cx: first[0], cy: first[1], r: 4 })] : [];
    return [shape("path", { d: curve, "stroke-width": 3.2 - rank, opacity: 0.9 - 0.2 * rank }), ...marks];
  };
  const show = (own) => {
    const unit = units[own];
    const near = new Set([own, ...(own === held && unit ? unit.paths.flatMap(([stops]) => stops) : [])]);
    edges.forEach((edge, i) => {
      const on = ends[i].includes(`${own}`);
      edge.classList.toggle("near", on && own !== held);
      if (on && own !== held) ends[i].forEach((end) => near.add(+end));
    });
    spots.forEach((spot, i) => spot.classList.toggle("near", near.has(i)));
    net.classList.toggle("on", !!unit);
    net.classList.toggle("held", !!unit && own === held);
    trail.replaceChildren(...(unit && own === held ? unit.paths.flatMap(follow) : []));
    image?.setAttribute("href", unit?.map || rest);
    name.textContent = unit?.name || "";
    facts.textContent = unit?.facts || hint;
    strip.hidden = !unit?.bars;
    strip.querySelector("path").setAttribute("d", unit?.bars || "");
    spread.textContent = unit?.spread || "";
    list.replaceChildren(...(unit?.paths || []).map(([, words]) => Object.assign(document.createElement("li"), { textContent: words })));
  };
  spots.forEach((spot, i) => {
    spot.querySelector("title").remove();
    spot.addEventListener("pointerenter", () => held < 0 && show(i));
    spot.addEventListener("click", (event) => {
      event.stopPropagation();
      held = held === i ? -1 : i;
      show(i);
    });
  });
  net.addEventListener("pointerleave", () => held < 0 && show(-1));
  net.addEventListener("click", () => show((held = -1)));
  box.hidden = false;
  show(-1);
}
