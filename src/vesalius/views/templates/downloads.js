// Every figure and table as PNG, SVG and CSV, in the light theme. Files are made here, of what the page holds; nothing is fetched.
const SVG_STYLES = "fill fill-opacity stroke stroke-width stroke-opacity stroke-dasharray stroke-linecap stroke-linejoin opacity font-family font-size font-weight text-anchor shape-rendering image-rendering display visibility".split(" ");
const BOX_STYLES = "color background-color background-image border-top border-bottom border-left border-right border-radius border-collapse padding margin font-family font-size font-weight font-style font-variant-numeric line-height text-align vertical-align white-space width height display position inset overflow overflow-wrap writing-mode transform box-sizing max-width min-width".split(" ");
const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
const LEAST_WIDTH = 480;
const DENSITY = 2;
const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60);

function inLight(draw) {
  document.documentElement.classList.add("plain");
  try {
    return draw();
  } finally {
    document.documentElement.classList.remove("plain");
  }
}
// A copy that looks alike without the page's style sheet.
function styled(node) {
  const copy = node.cloneNode(true);
  const originals = [node, ...node.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((made, i) => {
    const known = getComputedStyle(originals[i]);
    const names = made.namespaceURI.endsWith("svg") ? [...SVG_STYLES, ...(made.localName === "svg" ? ["width", "height", "position", "inset", "display"] : [])] : BOX_STYLES;
    made.setAttribute("style", names.map((name) => `${name}:${known.getPropertyValue(name)}`).join(";"));
    [...made.attributes].filter(({ name }) => name.startsWith("data-") || name === "tabindex").forEach(({ name }) => made.removeAttribute(name));
  });
  [...copy.querySelectorAll(".tools, .sort, [hidden]")].forEach((made) => made.remove());
  return copy;
}
function drawing(node) {
  return inLight(() => {
    const paper = getComputedStyle(document.body).backgroundColor;
    const size = node.getBoundingClientRect();
    const outer = document.createElementNS(SVG, "svg");
    const copy = styled(node);
    let [wide, high] = [size.width, size.height];
    if (node.localName === "svg") {
      const box = node.viewBox.baseVal;
      if (box?.width) [wide, high] = [Math.max(wide, LEAST_WIDTH), (Math.max(wide, LEAST_WIDTH) * box.height) / box.width];
      if (node.getAttribute("preserveAspectRatio") === "none") high = size.height;
      ["position", "inset"].forEach((name) => copy.style.removeProperty(name));
      copy.style.width = copy.style.height = "";
      copy.setAttribute("width", wide);
      copy.setAttribute("height", high);
      outer.append(copy);
    } else {
      const held = document.createElementNS(outer.namespaceURI, "foreignObject");
      held.setAttribute("width", wide);
      held.setAttribute("height", high);
      copy.style.margin = 0;
      held.append(copy);
      outer.append(held);
    }
    const back = document.createElementNS(outer.namespaceURI, "rect");
    Object.entries({ width: "100%", height: "100%", fill: paper }).forEach(([name, value]) => back.setAttribute(name, value));
    outer.prepend(back);
    outer.setAttribute("width", Math.ceil(wide));
    outer.setAttribute("height", Math.ceil(high));
    outer.setAttribute("viewBox", `0 0 ${Math.ceil(wide)} ${Math.ceil(high)}`);
    return { text: new XMLSerializer().serializeToString(outer), wide: Math.ceil(wide), high: Math.ceil(high) };
  });
}
async function canvasOf(text, wide, high) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = make("canvas", { width: wide, height: high });
  const brush = canvas.getContext("2d");
  brush.imageSmoothingEnabled = false;
  brush.drawImage(image, 0, 0, wide, high);
  return canvas;
}
async function png(node) {
  const { text, wide, high } = drawing(node);
  const canvas = await canvasOf(text, wide * DENSITY, high * DENSITY);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
const svg = (node) => new Blob([drawing(node).text], { type: "image/svg+xml" });

// A cell that a spreadsheet would run as a formula is written as text.
function cellOf(text) {
  const number = text.replaceAll("\u2212", "-").replace(/(\d),(?=\d{3})/g, "$1");
  const plain = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(number) ? number : /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
const csvText = (rows) => rows.map((row) => row.map((cell) => cellOf(`${cell}`)).join(",")).join("\r\n") + "\r\n";
function tableRows(table) {
  const given = spans(table);
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  if (!given.length) return rows.map((row) => [...row.cells].map(words).filter((text, i) => text || !row.cells[i].querySelector("svg")));
  return [given.map(({ head }) => headName(head)), ...rows.map((row) => given.map((span) => cellText(row, span)))];
}
async function pixelRows(node) {
  const { width, height } = node.viewBox.baseVal;
  const canvas = await canvasOf(drawingOfPixels(node, width, height), width, height);
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const rows = [["row", "column", "red", "green", "blue"]];
  for (let i = 0; i < width * height; i++) rows.push([Math.floor(i / width), i % width, ...data.slice(4 * i, 4 * i + 3)]);
  return rows;
}
function drawingOfPixels(node, width, height) {
  const copy = node.cloneNode(true);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  copy.setAttribute("shape-rendering", "crispEdges");
  return new XMLSerializer().serializeToString(copy);
}
async function csv(node) {
  const text = node.localName === "table" ? csvText(tableRows(node)) : (node.dataset.csv ?? csvText(await pixelRows(node)));
  return new Blob(["\ufeff", text], { type: "text/csv" });
}

const WAYS = { png, svg, csv };
function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
const menu = make("span", { className: "menu", role: "group", "aria-label": "file format" });
let owner;
const shut = () => {
  owner?.setAttribute("aria-expanded", "false");
  menu.remove();
  owner = undefined;
};
Object.entries(WAYS).forEach(([ending, write]) => {
  const button = make("button", { type: "button", textContent: ending.toUpperCase() });
  button.addEventListener("click", async () => {
    const { node, name } = owner.saved();
    owner.focus();
    shut();
    save(await write(node), `${name}.${ending}`);
  });
  menu.append(button);
});
menu.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const button = owner;
    shut();
    button.focus();
  }
});
document.addEventListener("click", (event) => owner && !menu.contains(event.target) && !owner.contains(event.target) && shut());

function saver(node, title) {
  const button = make("button", { type: "button", className: "save", textContent: "\u2913", "aria-label": `Save ${title}`, "aria-expanded": "false", title: "Save as PNG, SVG or CSV" });
  button.saved = () => ({ node, name: slug(`${node.closest("section").querySelector("h2").id} ${title}`) });
  button.addEventListener("click", () => {
    const open = owner === button;
    shut();
    if (open) return;
    owner = button;
    button.after(menu);
    button.setAttribute("aria-expanded", "true");
    menu.firstElementChild.focus();
  });
  return make("span", { className: "tools saver" }, button);
}
for (const node of main.querySelectorAll("figure, .flowbox, .swarm, .arcbox")) {
  const picture = node.querySelector("svg");
  if (!picture || node.closest(".readout")) continue;
  const caption = node.querySelector("figcaption");
  const title = words(caption?.querySelector("b") || caption || picture) || picture.getAttribute("aria-label") || "figure";
  node.append(saver(picture, title.slice(0, 80)));
  node.classList.add("saved");
}
for (const table of main.querySelectorAll(".wide > table")) {
  const wide = table.parentElement;
  const before = wide.previousElementSibling;
  const head = table.tHead && words(table.tHead.rows[0].cells[0]);
  const bar = before?.matches(".filters") ? before : make("div", { className: "tools corner" });
  if (bar !== before) wide.before(bar);
  bar.append(saver(table, `table ${head || ""} of ${words(wide.closest("section").querySelector("h2"))}`.replace(/\s+/g, " ")));
}
