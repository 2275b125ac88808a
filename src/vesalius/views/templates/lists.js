// Long lists in pages. Items that a filter leaves out, or that are on another page, are hidden.
function paged(items, size, noun, after, changed = () => {}) {
  let kept = items;
  let first = 0;
  const bar = make("div", { className: "pager tools", role: "group", "aria-label": `pages of ${noun}` });
  const back = make("button", { type: "button", textContent: "\u2039", "aria-label": `previous ${noun}` });
  const on = make("button", { type: "button", textContent: "\u203a", "aria-label": `next ${noun}` });
  const note = make("span", { role: "status" });
  const draw = () => {
    first = Math.max(0, Math.min(first, Math.floor((kept.length - 1) / size) * size));
    const shown = new Set(kept.slice(first, first + size));
    items.forEach((item) => (item.hidden = !shown.has(item)));
    const some = kept.length === items.length ? "" : `, of ${items.length} in all`;
    note.textContent = kept.length ? `${first + 1}\u2013${Math.min(first + size, kept.length)} of ${kept.length} ${noun}${some}` : `none of ${items.length} ${noun}`;
    back.disabled = !first;
    on.disabled = first + size >= kept.length;
    bar.hidden = items.length <= size && kept.length === items.length;
    changed();
  };
  back.addEventListener("click", () => ((first -= size), draw()));
  on.addEventListener("click", () => ((first += size), draw()));
  bar.append(back, note, on);
  after(bar);
  items.forEach((item) =>
    pagers.set(item, () => {
      if (!item.hidden) return;
      if (!kept.includes(item)) kept = items;
      first = Math.floor(kept.indexOf(item) / size) * size;
      draw();
    }),
  );
  draw();
  return {
    keep: (chosen) => {
      kept = chosen;
      first = 0;
      draw();
    },
  };
}

const DECISIONS = 10;
for (const section of main.querySelectorAll("details.part")) {
  const items = [...section.querySelectorAll(":scope > .decision, :scope > .reading.one")];
  if (items.length < 5) continue;
  const text = new Map(items.map((item) => [item, words(item).toLowerCase()]));
  const filter = make("input", { type: "search", placeholder: "filter decisions", "aria-label": "filter decisions by their words" });
  const choice = make("select", { "aria-label": "which decisions" });
  const order = make("select", { "aria-label": "order of decisions" });
  choice.append(...["all decisions", "right ones", "wrong ones"].map((words, value) => make("option", { value, textContent: words })));
  order.append(...["in the order given", "least sure first", "most sure first"].map((words, value) => make("option", { value, textContent: words })));
  const bar = make("div", { className: "tools filters", role: "group", "aria-label": "filter and order of decisions" }, filter);
  if (items.some((item) => item.querySelector(".chip.ok")) && items.some((item) => item.querySelector(".chip.bad"))) bar.append(choice);
  if (items.every((item) => item.dataset.sure)) bar.append(order);
  items[0].before(bar);
  const last = items.at(-1);
  const pages = paged(items, DECISIONS, "decisions", (pager) => last.after(pager));
  const apply = () => {
    const query = filter.value.trim().toLowerCase();
    const kinds = [() => true, (item) => item.dataset.right === "yes", (item) => item.dataset.right === "no"];
    const sign = [0, 1, -1][order.value || 0];
    const ranked = [...items].sort((a, b) => sign * (a.dataset.sure - b.dataset.sure));
    ranked.reduce((before, item) => (before.after(item), item), bar);
    pages.keep(ranked.filter((item) => text.get(item).includes(query) && kinds[choice.value || 0](item)));
  };
  [filter, choice, order].forEach((one) => one.addEventListener("input", apply));
}
