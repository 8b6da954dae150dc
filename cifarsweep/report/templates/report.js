// Draws the figures of one page from the JSON in it, and listens to its controls. Asks nobody for anything.
const DRAWING = {
  "figure-curves": drawCurves, "figure-finals": drawFinals, "figure-costs": drawCosts, "figure-gaps": drawGaps,
  "figure-classes": drawClasses, "figure-confusion": drawConfusion, "figure-resources": drawResources,
};
const FIGURES = Object.values(DRAWING);
/** The figures that show chosen cells alone. */
const ISOLATING = [drawCurves, drawClasses, drawResources];
/** Figures on the screen or near it; the main figure always, and of few cells all. */
const near = new Set(roomy() ? FIGURES : [drawCurves]);
/** Figures that are to be drawn again when they come near. */
const stale = new Set();
/** One by one, so that the page answers meanwhile; those that nobody sees wait until the reader comes to them. */
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
/** Of many cells a figure takes long: it is drawn shortly before the reader sees it. */
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
const choose = (places) => {
  chosen.clear();
  for (const place of places) chosen.add(place);
  for (const button of buttons()) button.setAttribute("aria-pressed", String(chosen.has(Number(button.dataset.cell))));
  const all = byId("show-all");
  // A button that goes away must not take the focus with it.
  if (all && !chosen.size && document.activeElement === all) buttons()[0].focus();
  if (all) all.hidden = chosen.size === 0;
  drawSoon(ISOLATING);
};
/** One click isolates a cell, the next shows all again; with Shift, Ctrl or Cmd cells come and go one by one. */
const afterClick = (place, several) => {
  const others = [...chosen].filter((other) => other !== place);
  if (several) return chosen.has(place) ? others : [...others, place];
  return chosen.has(place) && !others.length ? [] : [place];
};
const onClick = (event) => {
  const button = event.target.closest("#legend button");
  if (!button) return;
  const several = event.shiftKey || event.ctrlKey || event.metaKey;
  choose(button.id === "show-all" ? [] : afterClick(Number(button.dataset.cell), several));
};
/** What a control changes, by the figure that it stands in. */
const CHANGING = { "figure-curves": [drawCurves], "figure-costs": [drawCosts], "figure-confusion": [drawConfusion] };
const onChange = ({ target }) => {
  if (target.id === "close-up") drawSoon([drawFinals, drawCosts, drawGaps]);
  else for (const draw of CHANGING[target.closest("figure")?.id] ?? []) draw();
};
/** From the dashboard: what came since. Cells that were chosen stay so, wherever they stand now. */
const onNewer = ({ detail }) => {
  const names = new Set([...chosen].map((place) => data.cells[place].name));
  Object.assign(data, detail);
  choose([...data.cells.keys()].filter((place) => names.has(data.cells[place].name)));
  watch();
  drawSoon();
};
const listen = () => {
  // Not on each of them: the dashboard adds some later.
  document.addEventListener("click", onClick);
  document.addEventListener("change", onChange);
  document.addEventListener("newer-data", onNewer);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawSoon());
  // Paper is white, whatever the screen is.
  const closed = new Set();
  const printing = (now) => () => {
    root.classList.toggle("printing", now);
    if (now) for (const each of document.querySelectorAll("details:not([open])")) closed.add(each);
    for (const each of closed) each.open = now;
    if (!now) closed.clear();
    drawNow();
    if (!now) for (const plot of document.querySelectorAll(".plot")) Plotly.Plots.resize(plot);
  };
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));
};

if (typeof Plotly === "undefined") {
  byId("no-plotly").hidden = false;
  for (const figure of document.querySelectorAll("figure.drawn")) figure.remove();
  for (const section of document.querySelectorAll("section")) if (section.children.length < 2) section.remove();
} else {
  listen();
  drawSoon();
  watch();
}
