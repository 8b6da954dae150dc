// Draws every figure for a file instead of the screen: `report --figures`. `paper` has its width in pixels, the size of
// its text and its format; what is drawn comes from the same functions as on the page. Python reads the result from the DOM.
const SCALE = 6.25; // of a picture: 600 dots an inch, as 96 pixels make one
const LOWEST = 104; // pixels of height
const RATIO = 0.62; // height by width of a figure whose height nothing else decides
const sheet = document.createElement("div");
// A column is as narrow as a phone, which folds figures away.
for (const details of document.querySelectorAll(FOLD)) details.open = true;

/** Plotly names parts of its SVG by chance: let chance repeat itself, so that the same study gives the same file. */
const repeat = () => {
  let state = 1;
  Math.random = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 0x80000000;
  };
};
const rewritten = (value, key, change) => {
  if (Array.isArray(value)) return value.map((item) => rewritten(item, key, change));
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  const entries = Object.entries(value).map(([name, item]) => [name, rewritten(item, name, change)]);
  return change(Object.fromEntries(entries), key);
};
const smaller = (value, by) => (Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value, (one) => one * by) : value * by);
/** Texts of the size of the paper's, and marks and lines as much smaller as the figure is. */
const forPaper = (part) => rewritten(part, "", (value, key) => {
  const { size, width, thickness } = value;
  if (/font$/i.test(key) && size) return { ...value, size: Math.min(size, paper.font) };
  if (key === "marker" && size) return { ...value, size: smaller(size, paper.marks), ...(value.line ? { line: { ...value.line, width: smaller(value.line.width ?? 0, 0.7) } } : {}) };
  if (key === "line" && width > 1.2) return { ...value, width: width * 0.7 };
  return thickness && key.startsWith("error") ? { ...value, thickness: thickness * 0.6, width: (width ?? 0) * 0.6 } : value;
});

/** The factors whose levels a cell's brief name lists, as its whole name has them; null where that is its own name. */
const factorsInNames = () => {
  const parts = data.cells.map(({ name, brief }) => (name === brief ? [] : name.split(", ").map((part) => part.split("=", 1)[0])));
  return parts.every(({ length }) => length) && new Set(parts.map(String)).size === 1 ? parts[0].join(", ") : null;
};
const line = (text, x, y) => element("text", { x, y, "font-family": css("--sans"), "font-size": paper.font, fill: "#000000" }, text);
/** A mark of the page's legend, with its colours as attributes: a file has no style sheet. */
const markOf = (svg, x, y) => {
  const parts = [...svg.children].map((part) => {
    const [copy, style] = [part.cloneNode(), getComputedStyle(part)];
    copy.removeAttribute("class");
    for (const key of ["stroke", "fill", "stroke-width", "stroke-dasharray"]) copy.setAttribute(key, style.getPropertyValue(key).replaceAll("px", ""));
    return copy;
  });
  return element("g", { transform: `translate(${x} ${y}) scale(${paper.marks})` }, ...parts);
};
/** The legend or key that stands beside the figure on the page. Names too long for two columns are given by their levels
 * alone, below a line that names the factors. */
const legendOf = (figure) => {
  const places = [...figure.querySelectorAll(".legend > :not([hidden]), .key > li")].filter((place) => (
    place.querySelector("svg") && (place.dataset.cell === undefined || isShown(Number(place.dataset.cell)))));
  const names = places.map((place) => place.textContent.trim());
  if (places.length < 2 || !figure.querySelector(".legend:not([hidden]), .key, [href='#figure-curves']")) return { height: 0, parts: [] };
  if (places.length > paper.legend) return { height: 0, parts: [], left: places.length };
  const briefs = new Map(data.cells.map(({ name, brief }) => [name, brief]));
  const long = names.some((name) => widthOf(name) + 44 > paper.width / 2);
  const factors = long ? factorsInNames() : null;
  const texts = names.map((name) => short(factors === null ? name : briefs.get(name) ?? name, 60));
  const wide = Math.max(...places.map((place) => Number(place.querySelector("svg").getAttribute("width")))) * paper.marks + 5;
  const columns = Math.max(Math.floor((paper.width - 8) / (wide + Math.max(...texts.map(widthOf)) + 12)), 1);
  const rows = Math.ceil(texts.length / columns);
  const [step, first] = [1.45 * paper.font, factors === null ? 0 : 1];
  const parts = places.flatMap((place, nth) => {
    const svg = place.querySelector("svg");
    const [x, y] = [4 + (Math.floor(nth / rows) * (paper.width - 8)) / columns, (first + (nth % rows)) * step + 4];
    const lift = (step - Number(svg.getAttribute("height")) * paper.marks) / 2;
    return [markOf(svg, x, y + lift), line(texts[nth], x + wide, y + 0.5 * step + 0.35 * paper.font)];
  });
  if (factors !== null) parts.unshift(line(`${factors}:`, 4, 4 + 0.5 * step + 0.35 * paper.font));
  return { height: Math.ceil((rows + first) * step + 6), parts };
};
/** Put the legend above the drawn plot, and give both as text: SVG, or a picture. */
/** Move the attribute of styles before the others: the browser adds it to them late, and not always at one moment. */
const stylesFirst = (svg) => {
  for (const part of [svg, ...svg.querySelectorAll("[style]")]) {
    for (const attribute of [...part.attributes].filter(({ name }) => name !== "style")) part.setAttributeNode(part.removeAttributeNode(attribute));
  }
};
const composed = async (svg, { width, height }, legend) => {
  const plot = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  stylesFirst(plot);
  plot.setAttribute("y", legend.height);
  const size = { width, height: height + legend.height };
  const content = await asAsked(sheetOf(size, ...legend.parts, document.importNode(plot, true)), size);
  return { ...size, unnamed: legend.left ?? 0, content };
};
const pictureOf = async (svg, { width, height }) => {
  const picture = new Image();
  picture.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((side) => Math.round(side * SCALE));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
};

const axesOf = (layout) => Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
/** The size on paper: rows keep their distance, all else has one ratio, and a matrix is square. */
const sized = (plot, layout) => {
  const square = plot.classList.contains("square");
  const rows = layout.height && plot.style.height;
  const height = rows ? layout.height * paper.rows : paper.width * (square ? 1 : RATIO);
  const fixed = axesOf(layout).some((key) => key.startsWith("y") && layout[key].automargin === false);
  const margin = { l: fixed ? Math.min(layout.margin.l, 0.55 * paper.width) : 4, r: 10, t: 8, b: square ? layout.margin.b : 4 };
  return { ...layout, width: paper.width, height: Math.max(Math.round(height), LOWEST), autosize: false, margin };
};
const axisForPaper = (axis) => ({
  ...axis, ticklen: axis.ticks ? 3 : 0, automargin: axis.automargin !== false,
  title: { ...axis.title, standoff: 6 }, tickfont: { ...axis.tickfont, size: Math.min(axis.tickfont?.size ?? paper.font, paper.font) },
});
/** Rows that are named by their levels alone get the factors as the title of their axis. */
const rowTitle = (layout) => {
  const names = layout.yaxis?.ticktext;
  const factors = factorsInNames();
  if (!names || factors === null || !data.cells.every(({ brief }, row) => names[row] === plain(brief))) return layout;
  const l = layout.margin.l + 1.6 * paper.font;
  // As an annotation: plotly would put the title of an axis over labels whose room it has not measured.
  const title = {
    text: plain(factors), xref: "paper", yref: "paper", x: 0, y: 0.5, xanchor: "center", yanchor: "middle", xshift: paper.font - l,
    textangle: -90, showarrow: false, font: { size: paper.font },
  };
  return { ...layout, margin: { ...layout.margin, l }, annotations: [title] };
};
const layoutForPaper = (plot) => {
  const layout = rowTitle(forPaper(sized(plot, plot.layout)));
  for (const key of axesOf(layout)) layout[key] = axisForPaper(layout[key]);
  const font = { family: css("--sans"), size: paper.font, color: "#000000" };
  return { ...layout, paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", showlegend: false, title: undefined, modebar: undefined, font };
};
/** Draw one plot anew on a sheet of its own, with room around its axes. */
const written = async (plot, legend) => {
  repeat();
  await Plotly.newPlot(sheet, forPaper(plot.data), layoutForPaper(plot), { staticPlot: true });
  const { l, b } = sheet._fullLayout._size; // plotly's automatic margins end where the texts end
  await Plotly.relayout(sheet, { "margin.l": Math.ceil(l) + 4, "margin.b": Math.ceil(b) + 3 });
  const { width, height } = sheet.layout;
  const svg = await Plotly.toImage(sheet, { format: "svg", width, height, imageDataOnly: true });
  Plotly.purge(sheet);
  return composed(svg, { width, height }, legend);
};

/** What the controls of a figure choose among, each of which gets a file: its name, and a function that chooses it. */
const optionsOf = (select) => [...select.options].filter(({ parentElement }) => parentElement === select).map((option) => (
  { name: data.metrics[Number(option.value)].name, choose: () => { select.value = option.value; } }));
const VARIANTS = {
  "figure-curves": () => (paper.chosen.includes("y") ? [] : optionsOf(byId("y-axis"))),
  "figure-confusion": () => (paper.chosen.includes("matrix") ? [] : [...byId("confusion-cell").options].map((option) => (
    { name: data.cells[Number(option.value)].name, choose: () => { option.selected = true; } }))),
  "figure-costs": () => [...document.querySelectorAll("input[name=cost]")].map((input) => (
    { name: data.costs[Number(input.value)].name, choose: () => { input.checked = true; } })),
};
const current = { "figure-curves": () => [data.metrics[Number(byId("y-axis").value)].name] };
const stemOf = (figure) => figure.id.replace(/^figure-/, "");
const filesOf = async (figure, draw) => {
  const found = [];
  const variants = VARIANTS[figure.id]?.() ?? [];
  for (const variant of variants.length ? variants : [null]) {
    variant?.choose();
    draw();
    const plots = [...figure.querySelectorAll(".plot")];
    for (const plot of plots) {
      const metric = data.metrics[Number(plot.dataset.metric)]?.name;
      const name = [stemOf(figure), ...(variant ? [variant.name] : current[figure.id]?.() ?? []), ...(plots.length > 1 && metric ? [metric] : [])];
      if (draw === drawCosts) for (const trace of plot.data) if (trace.mode === "markers+text") trace.mode = "markers"; // numbers of the text below
      found.push({ name, title: plot.getAttribute("aria-label") ?? "", ...(await written(plot, legendOf(figure))) });
    }
  }
  return found;
};

/** A figure that is no plot of plotly: as it is laid out at the width of the paper, or made smaller to fit. */
const flatFile = async (figure) => {
  nameAxes(figure);
  const { parts, ...box } = flattened(figure);
  const scale = Math.min(paper.width / Math.max(box.width, figure.scrollWidth), 1);
  const size = { width: paper.width, height: Math.ceil(box.height * scale) };
  const content = element("g", { transform: `scale(${scale.toFixed(4)})` }, ...parts);
  const named = figure.querySelector("svg[aria-label], [role=group][aria-label]");
  const name = figure.querySelector("table.heat") ? ["interaction", ...crossedIn(figure)] : [stemOf(figure)];
  return { name, title: named?.getAttribute("aria-label") ?? "", unnamed: 0, ...size, content: await asAsked(sheetOf(size, content), size) };
};
/** The factors of the rows and of the columns of a table. */
const crossedIn = (figure) => {
  const [across, heads] = figure.querySelector("table.heat").tHead.rows;
  return [heads.cells[0], [...across.cells].at(-1)].map(({ textContent }) => textContent.trim());
};
/** Name the axes that the page names in its caption and controls alone. */
const nameAxes = (figure) => {
  const texts = { "figure-history": ["Point", data.accuracy], "figure-search": ["", data.accuracy], "figure-pair": ["pair-x-name", "pair-y-name"].map((id) => byId(id)?.textContent ?? "") };
  const named = (text) => Object.assign(document.createElement("p"), { className: "axis-name", textContent: text });
  if (figure.id === "figure-effects") figure.prepend(named(data.accuracy));
  const [across, upwards] = texts[figure.id] ?? [];
  for (const plane of upwards ? figure.querySelectorAll(".plane") : []) {
    plane.prepend(named(upwards));
    if (across) plane.append(named(across));
  }
};
/** White paper of that size with drawings on it. */
const sheetOf = (size, ...drawings) => (
  element("svg", { ...size, viewBox: `0 0 ${size.width} ${size.height}` }, element("rect", { ...size, fill: "#ffffff" }), ...drawings));
/** A drawing as text of SVG, or as a picture. */
const asAsked = async (svg, size) => {
  const text = new XMLSerializer().serializeToString(svg);
  return paper.format === "png" ? pictureOf(text, size) : text;
};

const writeAll = async () => {
  // What the page still has to draw would take from the same chance, at moments of its own.
  stale.clear();
  document.body.append(sheet);
  const files = [];
  for (const figure of document.querySelectorAll("figure")) {
    if (DRAWING[figure.id]) files.push(...(await filesOf(figure, DRAWING[figure.id])));
    else if (figure.querySelector("svg, table.heat, .bar")) files.push(await flatFile(figure));
  }
  return { files };
};
const hand = (result) => {
  const out = document.createElement("script");
  out.type = "application/json";
  out.id = "figure-files";
  out.textContent = JSON.stringify(result).replaceAll("<", "\\u003c");
  document.body.append(out);
};
const unknown = unknownInView();
if (unknown) hand({ unknown });
else if (typeof Plotly !== "undefined") writeAll().then(hand, (error) => hand({ error: String(error.stack ?? error) }));
