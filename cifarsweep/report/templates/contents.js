// Marks the section that is read in the list of contents.
const contentsLinks = () => [...document.querySelectorAll(".contents a")];
/** The last section whose heading stands in the upper third of the screen; the last one at the end of the page. */
const currentLink = () => {
  const links = contentsLinks();
  if (scrollY + innerHeight >= root.scrollHeight - 2 && scrollY > 0) return links.at(-1);
  return links.findLast(({ hash }) => byId(hash.slice(1))?.getBoundingClientRect().top < innerHeight / 3) ?? links[0];
};
const markCurrent = () => {
  const current = currentLink();
  const marked = document.querySelector(".contents a[aria-current]");
  if (!current || current === marked) return;
  marked?.removeAttribute("aria-current");
  current.setAttribute("aria-current", "true");
  // On a bar the list is wider than the screen: only the bar may scroll, not the page.
  const bar = current.closest("ol");
  if (bar.scrollWidth <= bar.clientWidth) return;
  const [place, around] = [current.getBoundingClientRect(), bar.getBoundingClientRect()];
  bar.scrollLeft += place.left - around.left - (around.width - place.width) / 2;
};
let marking = false;
const markSoon = () => {
  if (marking) return;
  marking = true;
  requestAnimationFrame(() => {
    marking = false;
    markCurrent();
  });
};
addEventListener("scroll", markSoon, { passive: true });
addEventListener("resize", markSoon, { passive: true });
document.addEventListener("page-changed", markSoon);
markSoon();
