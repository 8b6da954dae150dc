// Small multiples, a panel for each level of a factor on common axes, and the line that stands out.
const MARGIN = { l: 62, r: 24, t: 28, b: 48 };
const PANEL = { across: 34, down: 14, title: 20 }; // pixels between two panels, and for a title above each

/** Split cells by the factor that the reader chose, in the order of its levels; else one panel without a title. */
const panelsOf = (indices) => {
  const factor = view.panels;
  if (factor === null || !indices.length) return [{ title: "", cells: indices }];
  const { name, levels } = data.factors[factor];
  const titles = [...levels.map((text) => `<b>${plain(short(name, 24))}</b> = ${plain(short(text, 30))}`), `without <b>${plain(short(name, 24))}</b>`];
  const found = titles.map((title, level) => (
    { title, cells: indices.filter((index) => (data.cells[index].levels[factor] ?? levels.length) === level) }));
  return found.filter(({ cells }) => cells.length);
};
const columnsFor = (count) => (narrow() ? 1 : count <= 3 ? count : count === 4 ? 2 : 3);
/** Give each panel its place and its axes, and the plot the height for all rows. */
const placed = (plot, panels, row = narrow() ? 210 : 250, columns = columnsFor(panels.length)) => {
  const rows = Math.ceil(panels.length / columns);
  plot.dataset.high ??= plot.style.height; // as the page reserves it
  plot.style.height = plot.dataset.high;
  const most = onPaper() ? PAGE : Infinity;
  const least = Math.min(rows * row + MARGIN.t + MARGIN.b, most);
  const high = rows === 1 ? Math.max(plot.clientHeight - (columns > 1 ? 20 : 0), least) : least;
  if (panels.length > 1) plot.style.height = `${high}px`;
  return panels.map((panel, nth) => ({
    ...panel, nth, columns, rows, column: nth % columns, row: Math.floor(nth / columns), last: nth + columns >= panels.length,
    axes: nth ? { xaxis: `x${nth + 1}`, yaxis: `y${nth + 1}` } : {},
  }));
};
/** The part of an axis that one of `count` panels has, of `length` pixels with gaps between them. */
const partOf = (nth, count, gap, length) => {
  const [one, apart] = [(1 - ((count - 1) * gap) / length) / count, gap / length];
  return [nth * (one + apart), nth * (one + apart) + one];
};
/** Axes and titles of placed panels: all have the range of the first; ticks stand below the columns and left of the rows. */
const panelLayout = (plot, panels, xStyle, yStyle, margin = MARGIN) => {
  if (panels.length === 1) return { xaxis: xStyle, yaxis: yStyle, annotations: titlesOf(panels) };
  const layout = { annotations: titlesOf(panels) };
  const [width, height] = [(onPaper() ? PAPER : plot.clientWidth) - margin.l - margin.r, plot.clientHeight - margin.t - margin.b];
  for (const { nth, columns, rows, column, row, last } of panels) {
    const own = nth ? String(nth + 1) : "";
    const [low, high] = partOf(rows - 1 - row, rows, PANEL.down, height);
    layout[`xaxis${own}`] = {
      ...xStyle, domain: partOf(column, columns, PANEL.across, width), anchor: `y${own}`, showticklabels: last,
      title: { ...xStyle.title, text: last ? xStyle.title.text : "" }, nticks: columns > 1 ? 5 : 0, ...(nth ? { matches: "x" } : {}),
    };
    layout[`yaxis${own}`] = {
      ...yStyle, domain: [low, high - PANEL.title / height], anchor: `x${own}`, showticklabels: !column,
      title: { ...yStyle.title, text: column ? "" : yStyle.title.text }, ...(nth ? { matches: "y" } : {}),
    };
  }
  return layout;
};
const titlesOf = (panels) => panels.filter(({ title }) => title).map(({ title, nth }) => ({
  text: title, xref: `x${nth ? nth + 1 : ""} domain`, yref: `y${nth ? nth + 1 : ""} domain`, x: 0, y: 1, xanchor: "left", yanchor: "bottom",
  showarrow: false, font: { size: fontSize(), color: css("--ink") },
}));

/** The id of a cell's line: plotly puts it into the class of what it draws. */
const lineId = (index) => `line-${index}`;
/** Let the lines of cells stand out among the others, and their entries in the legend. Nothing is drawn again. */
const stress = (indices) => {
  const plot = byId("curves-plot");
  if (!plot) return;
  plot.classList.toggle("stressing", indices.length > 0);
  for (const old of document.querySelectorAll("#curves-plot .stressed, #legend .stressed")) old.classList.remove("stressed");
  for (const index of indices) {
    for (const line of plot.querySelectorAll(`.trace${lineId(index)}`)) line.classList.add("stressed");
    document.querySelector(`#legend [data-cell="${index}"]`)?.classList.add("stressed");
  }
};
const cellsOfLine = ({ uid }) => {
  const found = /^line-(\d+)$/.exec(uid ?? "");
  return found ? [Number(found[1])] : [];
};
/** Stress the line under the pointer. */
const followPointer = (plot) => {
  for (const event of ["plotly_hover", "plotly_unhover"]) plot.removeAllListeners?.(event);
  plot.on("plotly_hover", ({ points: [point] }) => stress(cellsOfLine(point.data)));
  plot.on("plotly_unhover", () => stress([]));
};
/** The shown cells of an entry of the legend or of a level's chip, if an element is in one. */
const cellsUnder = (element) => {
  const { cell, level } = element.closest?.("#legend button[data-cell], #chips .chip")?.dataset ?? {};
  if (cell !== undefined) return [Number(cell)];
  const [factor, place] = (level ?? ":").split(":").map(Number);
  return [...data.cells.keys()].filter((index) => level && isShown(index) && data.cells[index].levels[factor] === place);
};
document.addEventListener("pointerover", ({ target, pointerType }) => {
  if (pointerType !== "touch" && target.closest?.("#legend, #chips")) stress(cellsUnder(target));
});
document.addEventListener("pointerout", ({ target }) => { if (target.closest?.("#legend, #chips")) stress([]); });
document.addEventListener("view-changed", () => stress([]));
