// Tables: sorted by a column, filtered by words, in pages where they are long.
const ROWS = 25;
const FILTERED = 9;
const SIZES = { "%": 0.01, "\u00b5s": 1e-6, us: 1e-6, ms: 1e-3, s: 1, min: 60, B: 1, kB: 1e3, MB: 1e6, GB: 1e9 };
// A number as it is written here: 1,234 or −1.90 or 3e-07, a unit behind it. NaN where a cell does not begin with one.
function amount(text) {
  const written = text.replaceAll("\u2212", "-").replace(/(\d),(?=\d{3})/g, "$1").replace(/^\u00b1/, "");
  const match = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?\u221e)\s*([%\w\u00b5]*)/i.exec(written);
  if (!match) return NaN;
  const size = match[1].includes("\u221e") ? (match[1][0] === "-" ? -Infinity : Infinity) : Number(match[1]);
  return size * (SIZES[match[2]] ?? 1);
}
// Cells by the columns of the head; one head may stand over a bar and its number, and a cell may reach over several.
function columns(row) {
  const places = [];
  for (const cell of row.cells) for (let i = 0; i < cell.colSpan; i++) places.push(cell);
  return places;
}
function spans(table) {
  let start = 0;
  return [...(table.tHead?.rows[table.tHead.rows.length - 1]?.cells || [])].map((head) => {
    const span = { head, start, end: start + head.colSpan };
    start = span.end;
    return span;
  });
}
const cellText = (row, { start, end }) => {
  const some = [...new Set(columns(row).slice(start, end))];
  return some.map(words).filter(Boolean).at(-1) ?? "";
};
function headName(head) {
  const strong = head.querySelector("b");
  return words(strong || head);
}
function sortable(table, rows, redraw) {
  const body = table.tBodies[0];
  const given = [...rows];
  spans(table).forEach((span) => {
    if (!words(span.head)) return;
    const button = make("button", { type: "button", className: "sort", "aria-label": `sort by ${headName(span.head)}` });
    span.head.append(button);
    button.addEventListener("click", () => {
      const cells = new Map(rows.map((row) => [row, cellText(row, span)]));
      const sizes = new Map(rows.map((row) => [row, amount(cells.get(row))]));
      const numeric = 2 * [...sizes.values()].filter((size) => !Number.isNaN(size)).length > rows.length;
      const ways = numeric ? ["descending", "ascending", ""] : ["ascending", "descending", ""];
      const way = ways[(ways.indexOf(span.head.getAttribute("aria-sort") || "") + 1) % 3];
      spans(table).forEach(({ head }) => head.removeAttribute("aria-sort"));
      if (way) span.head.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      const compare = (a, b) => {
        if (!numeric) return sign * cells.get(a).localeCompare(cells.get(b), undefined, { numeric: true });
        const [x, y] = [sizes.get(a), sizes.get(b)];
        return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y || 0);
      };
      const sorted = way ? [...rows].sort(compare) : given;
      body.append(...sorted);
      rows.splice(0, rows.length, ...sorted);
      redraw();
    });
  });
}
for (const table of main.querySelectorAll("table")) {
  const rows = [...(table.tBodies[0]?.rows || [])];
  const wide = table.closest(".wide") || table;
  let apply = () => {};
  if (table.tHead && rows.length > 2) sortable(table, rows, () => apply());
  if (rows.length < FILTERED || !table.tHead || table.matches(".matrix")) continue;
  const filter = make("input", { type: "search", placeholder: "filter rows", "aria-label": "filter the rows of this table" });
  const bar = make("div", { className: "tools filters" }, filter);
  wide.before(bar);
  const pages = paged(rows, ROWS, "rows", (pager) => wide.after(pager));
  apply = () => {
    const query = filter.value.trim().toLowerCase();
    pages.keep(rows.filter((row) => words(row).toLowerCase().includes(query)));
  };
  filter.addEventListener("input", apply);
}
for (const wide of main.querySelectorAll(".wide")) {
  const reach = () => (wide.scrollWidth > wide.clientWidth ? wide.setAttribute("tabindex", "0") : wide.removeAttribute("tabindex"));
  new ResizeObserver(reach).observe(wide);
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", wide.querySelector("table") ? "table" : "figure");
}
