const choices = JSON.parse(document.getElementById("choices").textContent);
const byId = (id) => document.getElementById(id);
const made = (kind, facts = {}, ...inside) => {
  const node = Object.assign(document.createElement(kind), facts);
  node.append(...inside);
  return node;
};
const changes = { row: -1, edits: new Map(), masks: [], text: null };
const asker = crypto.randomUUID();
const PATIENCE = 300;
let asking = null;

async function post(place, body) {
  const headers = { "Content-Type": "application/json" };
  const sent = await fetch(place, { method: "POST", headers, body: JSON.stringify(body), keepalive: true });
  const found = await sent.json();
  if (!sent.ok || found.stopped) throw new Error(found.error || found.stopped);
  return found;
}

const cancel = () => post("cancel", { asker });

async function answer(own) {
  for (;;) {
    const found = await post("answer", question());
    if (!found.busy || own !== asking) return found;
    byId("state").textContent = "another page is computing; this one waits for it";
    await new Promise((go) => setTimeout(go, PATIENCE));
    if (own !== asking) return found;
  }
}

function question() {
  const row = Number(byId("row").value);
  if (row !== changes.row) Object.assign(changes, { row, edits: new Map(), masks: [], text: null, values: null });
  return {
    asker,
    row,
    edits: Object.fromEntries(changes.edits),
    masks: changes.masks,
    fill: Number(byId("fill")?.value || 0),
    text: changes.text,
    target: byId("target").value.trim(),
    at: byId("at").value,
    baseline: byId("baseline").value,
    players: byId("players").value,
    method: byId("method").value,
    budget: Number(byId("budget").value),
    effects: byId("effects").checked,
    audit: byId("audit").value,
  };
}

async function ask() {
  if (!byId("question").reportValidity()) return;
  const own = (asking = Symbol("question"));
  byId("cancel").disabled = false;
  byId("state").textContent = "computing";
  byId("models").classList.add("stale");
  try {
    await cancel();
    if (own !== asking) return;
    const found = await answer(own);
    if (own !== asking) return;
    show(found);
    finish(`done in ${found.seconds.toFixed(1)} s`);
    byId("models").classList.remove("stale");
  } catch (error) {
    if (own === asking) finish(error instanceof TypeError ? "the explorer does not answer; is it still running?" : error.message);
  }
}

function finish(words) {
  asking = null;
  byId("cancel").disabled = true;
  byId("state").textContent = words;
}

let waiting = 0;
function askSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(ask, PATIENCE);
}

function show(found) {
  byId("name").textContent = found.sample.name;
  byId("picture").innerHTML = found.sample.picture;
  byId("picture").hidden = !found.sample.picture;
  byId("sample").classList.toggle("shown", !!found.sample.picture);
  changes.masks.forEach(markRegion);
  if (!changes.values) {
    changes.values = found.sample.values;
    showChanges(found.sample);
  }
  byId("models").replaceChildren(...found.models.map(showModel));
}

function showModel(model, place) {
  const box = made("section", { className: "model" });
  box.append(made("h2", { textContent: choices.models.length > 1 ? choices.models[place] : "Prediction" }));
  if (model.refusal) box.append(made("p", { className: "refusal", textContent: model.refusal }));
  box.insertAdjacentHTML("beforeend", model.scores);
  for (const part of model.parts) {
    box.append(made("h2", { textContent: part.heading }));
    if (part.refusal) box.append(made("p", { className: "refusal", textContent: part.refusal }));
    box.insertAdjacentHTML("beforeend", part.html);
    if (part.code) {
      const seconds = part.refusal ? "" : ` (${part.seconds.toFixed(2)} s)`;
      box.append(made("details", {}, made("summary", { textContent: `The same in Python${seconds}` }), made("pre", { textContent: part.code })));
    }
  }
  for (const scrolled of box.querySelectorAll(".wide")) scrolled.tabIndex = 0;
  return box;
}

// ---- changes of the sample

function showChanges(sample) {
  const box = byId("changes");
  if (choices.kind === "text") box.replaceChildren(textField(sample.text));
  else if (sample.values.length && choices.kind !== "picture") box.replaceChildren(valueFields(sample.values));
  else box.replaceChildren(...(choices.kind === "picture" ? [maskLine()] : []), elementLine());
  box.append(made("ul", { id: "kept", ariaLabel: "Changes" }), made("button", { type: "button", textContent: "Undo all changes", onclick: undo }));
  listChanges();
}

function undo() {
  changes.row = -1;
  ask();
}

function textField(text) {
  const field = made("textarea", { value: text, ariaLabel: "text", maxLength: 20000 });
  field.addEventListener("input", () => {
    changes.text = field.value;
    askSoon();
  });
  return field;
}

function valueFields(values) {
  const fields = values.map((value, place) => {
    const field = made("input", { type: "number", step: "any", value });
    field.addEventListener("input", () => {
      if (field.value === "" || Number(field.value) === value) changes.edits.delete(place);
      else changes.edits.set(place, Number(field.value));
      field.classList.toggle("edited", changes.edits.has(place));
      askSoon();
    });
    return made("label", {}, made("span", { textContent: choices.names[place] }), field);
  });
  return made("div", { className: "fields" }, ...fields);
}

const number = (label, facts) => made("label", {}, `${label} `, made("input", { type: "number", step: "any", ...facts }));

function maskLine() {
  const [high, wide] = choices.size;
  const sides = [["top", high - 1], ["left", wide - 1], ["bottom", high], ["right", wide]].map(([name, max]) => number(name, { min: 0, max, step: 1 }));
  const add = made("button", { type: "button", textContent: "Mask the region" });
  add.addEventListener("click", () => {
    const region = sides.map((side) => Number(side.lastChild.value));
    if (region[2] > region[0] && region[3] > region[1]) mask(region);
    else byId("state").textContent = "bottom and right must be larger than top and left";
  });
  const fill = number("filled with", { id: "fill", value: 0 });
  fill.addEventListener("input", askSoon);
  const words = made("p", { className: "effort", textContent: "Drag over the picture to mask a region, or write its sides:" });
  return made("div", {}, words, made("div", { className: "line" }, ...sides, add), made("div", { className: "line" }, fill));
}

function elementLine() {
  const place = number("element", { min: 0, max: choices.elements - 1, step: 1 });
  const value = number("becomes", {});
  const add = made("button", { type: "button", textContent: "Change the value" });
  add.addEventListener("click", () => {
    const spot = place.lastChild.value;
    if (spot === "" || value.lastChild.value === "" || !place.lastChild.checkValidity()) return;
    changes.edits.set(Number(spot), Number(value.lastChild.value));
    listChanges();
    ask();
  });
  return made("div", { className: "line" }, place, value, add);
}

function mask(region) {
  changes.masks.push(region);
  listChanges();
  ask();
}

function listChanges() {
  const drop = (words, gone) => {
    const button = made("button", { type: "button", textContent: `${words} \u00d7`, ariaLabel: `take back: ${words}` });
    button.addEventListener("click", () => {
      gone();
      listChanges();
      ask();
    });
    return made("li", {}, button);
  };
  const regions = changes.masks.map((region) => drop(`region ${region.join(", ")}`, () => changes.masks.splice(changes.masks.indexOf(region), 1)));
  const fields = document.querySelector(".fields");
  const edits = fields ? [] : [...changes.edits].map(([place, value]) => drop(`element ${place} = ${value}`, () => changes.edits.delete(place)));
  byId("kept").replaceChildren(...regions, ...edits);
}

function markRegion([top, left, bottom, right]) {
  const [high, wide] = choices.size;
  const share = (part, whole) => `${(100 * part) / whole}%`;
  const frame = made("i");
  Object.assign(frame.style, { top: share(top, high), left: share(left, wide), height: share(bottom - top, high), width: share(right - left, wide) });
  byId("picture").append(frame);
  return frame;
}

if (choices.kind === "picture") {
  const box = byId("picture");
  const [high, wide] = choices.size;
  const pixel = (event) => {
    const room = box.getBoundingClientRect();
    const within = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    return [within((event.clientY - room.top) / room.height, high), within((event.clientX - room.left) / room.width, wide)];
  };
  let start = null;
  let frame = null;
  const region = (end) => [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.max(start[0], end[0]) + 1, Math.max(start[1], end[1]) + 1];
  box.addEventListener("pointerdown", (event) => {
    start = pixel(event);
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    if (!start) return;
    frame?.remove();
    frame = markRegion(region(pixel(event)));
  });
  const end = (event) => {
    const found = start && event.type === "pointerup" ? region(pixel(event)) : null;
    frame?.remove();
    start = frame = null;
    if (found) mask(found);
  };
  box.addEventListener("pointerup", end);
  box.addEventListener("pointercancel", end);
}

byId("question").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("question").addEventListener("change", askSoon);
byId("cancel").addEventListener("click", () => {
  finish("cancelled");
  cancel().catch(() => {});
});
addEventListener("pagehide", () => asking && cancel().catch(() => {}));
ask();
