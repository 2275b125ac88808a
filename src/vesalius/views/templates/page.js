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
