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
const watch = () => {
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const figure = DRAWING[target.id];
      if (isIntersecting) near.add(figure);
      else if (figure !== drawCurves) near.delete(figure);
    }
    drawNext();
  }, { rootMargin: "600px" });
  for (const figure of document.querySelectorAll("figure.drawn")) seen.observe(figure);
};

const buttons = [...document.querySelectorAll("#legend button[data-cell]")];
const choose = (places) => {
  chosen.clear();
  for (const place of places) chosen.add(place);
  for (const button of buttons) button.setAttribute("aria-pressed", String(chosen.has(Number(button.dataset.cell))));
  byId("show-all").hidden = chosen.size === 0;
  drawSoon(ISOLATING);
};
/** One click isolates a cell, the next shows all again; with Shift, Ctrl or Cmd cells come and go one by one. */
const afterClick = (place, several) => {
  const others = [...chosen].filter((other) => other !== place);
  if (several) return chosen.has(place) ? others : [...others, place];
  return chosen.has(place) && !others.length ? [] : [place];
};
const listen = () => {
  for (const button of buttons) {
    const place = Number(button.dataset.cell);
    button.addEventListener("click", (event) => choose(afterClick(place, event.shiftKey || event.ctrlKey || event.metaKey)));
  }
  byId("show-all")?.addEventListener("click", () => choose([]));
  for (const [figure, draw] of [["curves", drawCurves], ["costs", drawCosts], ["confusion", drawConfusion]]) {
    const inputs = byId(`figure-${figure}`)?.querySelectorAll(".controls input, .controls select") ?? [];
    for (const input of inputs) input.addEventListener("change", draw);
  }
  byId("close-up")?.addEventListener("change", () => drawSoon([drawFinals, drawCosts, drawGaps]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawSoon());
  // From the dashboard: the same cells, metrics and axes, with what came since.
  document.addEventListener("newer-data", ({ detail }) => {
    Object.assign(data, detail);
    drawSoon();
  });
  // Paper is white, whatever the screen is.
  const printing = (now) => () => {
    root.classList.toggle("printing", now);
    drawNow();
    if (!now) for (const plot of document.querySelectorAll(".plot")) Plotly.Plots.resize(plot);
  };
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));
};

if (typeof Plotly === "undefined") {
  byId("no-plotly").hidden = false;
  for (const figure of document.querySelectorAll("figure.drawn")) figure.remove();
} else {
  listen();
  drawSoon();
  if (!roomy()) watch();
}
