const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
const heads = [...document.querySelectorAll("h2[id]")];
function mark() {
  const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
  const read = heads.filter((h) => h.getBoundingClientRect().top < innerHeight / 3);
  const on = end && scrollY > 0 ? heads.at(-1) : read.at(-1) || heads[0];
  links.forEach((a, id) => a.classList.toggle("on", id === on.id));
}
addEventListener("scroll", mark, { passive: true });
