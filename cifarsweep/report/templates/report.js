// Draws the figures of one page from the JSON in it, and listens to its controls. Asks nobody for anything.
const FIGURES = [drawCurves, drawFinals, drawCosts, drawGaps, drawClasses, drawConfusion, drawResources];
/** The figures that show chosen cells alone. */
const ISOLATING = [drawCurves, drawClasses, drawResources];
/** The first at once and the others one by one, so that the page answers meanwhile. */
const drawSoon = (figures = FIGURES) => {
  const [first, ...rest] = figures;
  if (!first) return;
  first();
  setTimeout(drawSoon, 0, rest);
};
const drawNow = () => FIGURES.forEach((figure) => figure());

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
}
