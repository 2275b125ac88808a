"use strict";
// What is shared: every script of a page is read after this one. All text goes in as text, never as markup.
const make = (tag, facts = {}, ...inside) => {
  const made = document.createElement(tag);
  Object.entries(facts).forEach(([name, value]) => (name in made && !name.includes("-") ? (made[name] = value) : made.setAttribute(name, value)));
  made.append(...inside);
  return made;
};
const main = document.querySelector("main");
const controls = document.querySelector(".controls");
const status = make("p", { className: "status", role: "status" });
const words = (node) => node.textContent.replace(/\s+/g, " ").trim();
const pagers = new WeakMap();

// A list that is shown in pages tells where each of its items is; whatever is to be seen is brought to sight with all that holds it.
function reveal(node) {
  for (let at = node.nodeType === 1 ? node : node.parentElement; at && at !== main; at = at.parentElement) {
    pagers.get(at)?.(at);
    if (at.localName === "details" && at !== node) at.open = true;
  }
  const shown = node.nodeType === 1 ? node : node.parentElement;
  shown.closest("section")?.removeAttribute("hidden");
  shown.closest("details.part")?.setAttribute("open", "");
}

const entries = [...document.querySelectorAll("nav a")];
const links = new Map(entries.map((link) => [link.getAttribute("href").slice(1), link]));
const heads = [...main.querySelectorAll("h2[id], h3[id]")].filter((head) => links.has(head.id));
function mark() {
  const seen = heads.filter((head) => head.checkVisibility?.() ?? true);
  const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
  const read = seen.filter((head) => head.getBoundingClientRect().top < innerHeight / 3);
  const on = end && scrollY > 0 ? seen.at(-1) : read.at(-1) || seen[0];
  links.forEach((link, id) => {
    const here = id === on?.id;
    if (here !== link.classList.contains("on")) link.classList.toggle("on", here);
    here ? link.setAttribute("aria-current", "location") : link.removeAttribute("aria-current");
  });
}
let waiting = 0;
addEventListener("scroll", () => (waiting ||= requestAnimationFrame(() => ((waiting = 0), mark()))), { passive: true });

const go = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target) {
    reveal(target);
    target.scrollIntoView();
  }
};
addEventListener("hashchange", go);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (target) reveal(target);
});

// Search: sections without the words are left out, what is found is marked, Enter goes from one place to the next.
const box = make("input", { type: "search", placeholder: "Search", "aria-label": "Search this page" });
const parts = [...main.querySelectorAll("section:not(.summary)")];
const lists = [...document.querySelectorAll("nav > ol li")];
const MOST_MARKED = 2000;
let found = [];
let at = -1;
function ranges(root, query) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, (node) => (node.parentElement.closest(".tools, svg") ? 2 : 1));
  const some = [];
  for (let node = walker.nextNode(); node && some.length < MOST_MARKED; node = walker.nextNode()) {
    const text = node.data.toLowerCase();
    for (let place = text.indexOf(query); place >= 0 && text.length === node.data.length; place = text.indexOf(query, place + query.length)) {
      const range = new Range();
      range.setStart(node, place);
      range.setEnd(node, place + query.length);
      some.push(range);
    }
  }
  return some;
}
function search() {
  const query = box.value.trim().toLowerCase();
  found = [];
  at = -1;
  let holding = 0;
  for (const part of parts) {
    const here = query ? ranges(part, query) : [];
    found.push(...here);
    holding += here.length > 0;
    part.hidden = !!query && !here.length;
  }
  lists.forEach((item) => {
    const target = document.getElementById(item.querySelector("a").getAttribute("href").slice(1));
    const group = item.querySelector(":scope > details");
    const shown = group ? [...group.querySelectorAll("a")].some((link) => !document.getElementById(link.getAttribute("href").slice(1)).closest("section").hidden) : !target.closest("section").hidden;
    item.hidden = !shown;
  });
  if (globalThis.Highlight) query ? CSS.highlights.set("found", new Highlight(...found)) : CSS.highlights.clear();
  const places = found.length === 1 ? "1 place" : `${found.length} places`;
  status.textContent = !query ? "" : found.length ? `${places} in ${holding === 1 ? "1 section" : `${holding} sections`}; Enter goes to the next` : "nothing found";
}
function next(step) {
  if (!found.length) return;
  at = (at + step + found.length) % found.length;
  const range = found[at];
  reveal(range.startContainer);
  range.startContainer.parentElement.scrollIntoView({ block: "center" });
  if (globalThis.Highlight) CSS.highlights.set("current", new Highlight(range));
  status.textContent = `${at + 1} of ${found.length}`;
}
let typed = 0;
box.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(search, 120);
});
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    clearTimeout(typed);
    if (at < 0) search();
    next(event.shiftKey ? -1 : 1);
  } else if (event.key === "Escape") {
    box.value = "";
    search();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(input|select|textarea)$/.test(event.target.localName)) {
    event.preventDefault();
    box.focus();
  }
});

const folds = [...main.querySelectorAll("details.part")];
const fold = make("button", { type: "button", textContent: "Collapse all" });
const told = () => (fold.textContent = folds.some((one) => one.open) ? "Collapse all" : "Open all");
fold.addEventListener("click", () => {
  const open = !folds.some((one) => one.open);
  folds.forEach((one) => (one.open = open));
  told();
});
folds.forEach((one) => one.addEventListener("toggle", () => (told(), mark())));
const paper = make("button", { type: "button", textContent: "Print", title: "the main figure or table of each open section, on a few pages" });
paper.addEventListener("click", () => print());
controls.append(box, make("span", {}, fold, paper), status);
controls.hidden = false;
