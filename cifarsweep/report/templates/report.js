// Draws the figures of a page from the JSON in it, and handles its controls. Sends no request.
const DRAWING = {
  "figure-curves": drawCurves, "figure-finals": drawFinals, "figure-costs": drawCosts, "figure-gaps": drawGaps,
  "figure-classes": drawClasses, "figure-confusion": drawConfusion, "figure-resources": drawResources,
};
const FIGURES = Object.values(DRAWING);
/** Figures on or near the screen; always the main figure, and all figures if there are few cells. */
const near = new Set(roomy() ? FIGURES : [drawCurves]);
/** Figures to draw again when they come near. */
const stale = new Set();
/** Draw figures one by one, so that the page stays responsive; figures off the screen wait. */
const drawSoon = (figures = FIGURES) => {
  for (const figure of figures) stale.add(figure);
  drawNext();
};
const drawNext = () => {
  const next = FIGURES.find((figure) => stale.has(figure) && near.has(figure));
  if (!next) return;
  stale.delete(next);
  next();
  setTimeout(drawNext);
};
const drawNow = () => {
  stale.clear();
  FIGURES.forEach((figure) => figure());
};
/** A figure of many cells takes long: draw it when the reader comes near. */
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const figure = DRAWING[target.id];
    if (isIntersecting) near.add(figure);
    else if (figure !== drawCurves) near.delete(figure);
  }
  drawNext();
}, { rootMargin: "600px" });
const watch = () => {
  if (!roomy()) for (const figure of document.querySelectorAll("figure.drawn")) watcher.observe(figure);
};

const buttons = () => [...document.querySelectorAll("#legend button[data-cell]")];
const choose = (indices) => {
  chosen.clear();
  for (const index of indices) chosen.add(index);
  viewChanged();
};
/** Show in the legend, in keys and in figures what is chosen. */
const onView = () => {
  for (const entry of document.querySelectorAll(".key [data-cell]")) entry.hidden = isHidden(Number(entry.dataset.cell));
  for (const button of buttons()) {
    const index = Number(button.dataset.cell);
    button.setAttribute("aria-pressed", String(chosen.has(index)));
    button.hidden = isHidden(index);
  }
  const all = byId("show-all");
  // Hiding a focused button would lose the focus.
  if (all && !chosen.size && document.activeElement === all) buttons().find(({ hidden }) => !hidden)?.focus();
  if (all) all.hidden = chosen.size === 0;
  drawSoon();
};
/** A click shows one cell alone, the next click all; Shift, Ctrl or Cmd adds and removes single cells. */
const afterClick = (index, several) => {
  const others = [...chosen].filter((other) => other !== index);
  if (several) return chosen.has(index) ? others : [...others, index];
  return chosen.has(index) && !others.length ? [] : [index];
};
const onClick = (event) => {
  const button = event.target.closest("#legend button");
  if (!button) return;
  const several = event.shiftKey || event.ctrlKey || event.metaKey;
  choose(button.id === "show-all" ? [] : afterClick(Number(button.dataset.cell), several));
};
/** Figures to draw after a change, by the figure of the control. */
const CHANGING = { "figure-curves": [drawCurves], "figure-costs": [drawCosts], "figure-confusion": [drawConfusion] };
const onChange = ({ target }) => {
  if (target.id === "bands") view.bands = target.checked;
  if (target.id === "close-up") drawSoon([drawFinals, drawCosts, drawGaps]);
  else for (const draw of CHANGING[target.closest("figure")?.id] ?? []) draw();
  if (target.closest("figure")) record();
};
const onNewer = ({ detail }) => {
  takeNewer(detail);
  watch();
};
const listen = () => {
  // Listen on the document: the dashboard adds controls later.
  document.addEventListener("click", onClick);
  document.addEventListener("change", onChange);
  document.addEventListener("view-changed", onView);
  // Figures are laid out anew for other colours, and for a screen that was turned or made narrow.
  for (const query of ["(prefers-color-scheme: dark)", `(min-width: ${NARROW}px)`]) matchMedia(query).addEventListener("change", () => drawSoon());
  // Print with light colours, also from a dark screen.
  const closed = new Set();
  const printing = (now) => () => {
    root.classList.toggle("printing", now);
    if (now) dressMarks();
    if (now) for (const each of document.querySelectorAll("details:not([open])")) closed.add(each);
    for (const each of closed) each.open = now;
    if (!now) closed.clear();
    drawNow();
    if (!now) for (const plot of document.querySelectorAll(".plot")) Plotly.Plots.resize(plot);
  };
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));
};

document.addEventListener("newer-data", onNewer);
addEventListener("hashchange", followAddress);
if (!byId("no-plotly")) {
  // There is nothing to draw yet.
} else if (typeof Plotly === "undefined") {
  byId("no-plotly").hidden = false;
  for (const figure of document.querySelectorAll("figure.drawn")) figure.remove();
  for (const section of document.querySelectorAll("section")) if (section.children.length < 2) section.remove();
} else {
  listen();
  watch();
}
followAddress();
