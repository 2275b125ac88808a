// Graphs by keyboard and touch: one stop of the tab key, arrows from mark to mark, the nearest mark to a tap.
const NEAR = 24;
// Marks of a drawing, of which one at a time can be reached with the tab key.
function roving(net, marks, { show, hold, leave, beside }) {
  let on = 0;
  net.setAttribute("role", "group");
  marks.forEach((mark, i) => {
    mark.setAttribute("role", hold ? "button" : "img");
    mark.setAttribute("tabindex", i ? "-1" : "0");
  });
  const move = (to) => {
    const visible = marks.filter((mark) => !mark.hasAttribute("hidden"));
    if (!visible.includes(marks[to])) return;
    marks[on].setAttribute("tabindex", "-1");
    marks[to].setAttribute("tabindex", "0");
    on = to;
    marks[to].focus();
  };
  net.addEventListener("keydown", (event) => {
    const own = marks.indexOf(event.target);
    if (own < 0) return;
    const to = beside(own, event.key);
    if (to !== undefined) move(to);
    else if (hold && (event.key === "Enter" || event.key === " ")) hold(own);
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
  });
  net.addEventListener("focusin", (event) => {
    const own = marks.indexOf(event.target);
    if (own >= 0) show(own);
  });
  net.addEventListener("focusout", (event) => !net.contains(event.relatedTarget) && leave());
  return {
    // Where the first mark is hidden, another is to be reached.
    settle: () => {
      const visible = marks.map((mark, i) => (mark.hasAttribute("hidden") ? -1 : i)).filter((i) => i >= 0);
      marks.forEach((mark) => mark.setAttribute("tabindex", "-1"));
      on = visible.includes(on) ? on : (visible[0] ?? 0);
      marks[on].setAttribute("tabindex", "0");
    },
  };
}
// Up and down a list, with its ends.
const inOrder = (count) => (own, key) => {
  const to = { ArrowRight: own + 1, ArrowDown: own + 1, ArrowLeft: own - 1, ArrowUp: own - 1, Home: 0, End: count - 1 }[key];
  return to === undefined ? undefined : Math.max(0, Math.min(count - 1, to));
};
const middle = (node) => {
  const box = node.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
};
function nearest(marks, event) {
  const far = marks.map((mark) => (mark.hasAttribute("hidden") ? Infinity : Math.hypot(middle(mark)[0] - event.clientX, middle(mark)[1] - event.clientY)));
  const least = Math.min(...far);
  return least <= NEAR ? far.indexOf(least) : -1;
}

for (const map of main.querySelectorAll("svg.partners")) {
  const rows = JSON.parse(map.dataset.partners);
  const marks = [...map.querySelectorAll("path")];
  const rest = marks.map((mark) => mark.getAttribute("fill"));
  const note = map.closest("figure").querySelector(".hint");
  const hint = words(note);
  let held = -1;
  const show = (own) => {
    const fills = own < 0 ? rest : rows[own];
    marks.forEach((mark, i) => mark.setAttribute("fill", i === own ? "currentColor" : fills[i]));
    note.textContent = own < 0 ? hint : marks[own].getAttribute("aria-label");
  };
  const hold = (own) => {
    held = held === own ? -1 : own;
    marks.forEach((mark, i) => mark.setAttribute("aria-pressed", i === held));
    show(held);
  };
  marks.forEach((mark, i) => {
    const title = mark.querySelector("title");
    mark.setAttribute("aria-label", title.textContent);
    title.remove();
    mark.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && held < 0 && show(i));
    mark.addEventListener("click", () => hold(i));
  });
  map.addEventListener("pointerleave", () => held < 0 && show(-1));
  roving(map, marks, { show, hold, leave: () => show(held), beside: inOrder(marks.length) });
  note.hidden = false;
}

// Any other drawing whose marks have titles says them below it.
for (const net of main.querySelectorAll("svg:not(.flow[data-units], .partners)")) {
  const marks = [...net.querySelectorAll("title")].map((title) => title.parentElement).filter((mark) => mark !== net);
  if (marks.length < 2) continue;
  const note = make("p", { className: "effort told", "aria-live": "polite" });
  marks.forEach((mark) => {
    const title = mark.querySelector(":scope > title");
    mark.setAttribute("aria-label", title.textContent);
    mark.classList.add("point");
    title.remove();
  });
  const show = (own) => {
    marks.forEach((mark, i) => mark.classList.toggle("shown", i === own));
    note.textContent = own < 0 ? "\u00a0" : marks[own].getAttribute("aria-label");
  };
  const leave = () => show(-1);
  marks.forEach((mark, i) => mark.addEventListener("pointerenter", () => show(i)));
  net.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
  net.addEventListener("click", (event) => {
    const own = marks.indexOf(event.target.closest(".point"));
    show(own < 0 ? nearest(marks, event) : own);
  });
  roving(net, marks, { show, leave, beside: inOrder(marks.length) });
  net.after(note);
  leave();
}
