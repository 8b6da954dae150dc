// Shared by all figures: data, colours, texts and axes.
const data = JSON.parse(document.getElementById("report-data").textContent);
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const ARRAYS = { i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };
const NARROW = 640; // pixels: a phone's page is less wide
const PAPER = 680; // pixels between the margins of A4 and of US letter
const PAGE = 860; // the highest plot there that leaves a page room for its caption
const FEW = 7; // fewer curves than this have room for their bands
const MANY = 12; // more curves than this are drawn more lightly
const UNITS = {
  elapsed_s: [["s", 1, 180], ["min", 60, 180], ["h", 3600, Infinity]],
  device_s: [["s", 1, 180], ["min", 60, 180], ["h", 3600, Infinity]],
  energy_j: [["J", 1, 2e3], ["kJ", 1e3, 2e3], ["MJ", 1e6, Infinity]],
  default: [["", 1, 2e3], ["k", 1e3, 2e3], ["M", 1e6, 2e3], ["G", 1e9, 2e3], ["T", 1e12, 2e3], ["P", 1e15, 2e3], ["E", 1e18, Infinity]],
};
/** Plotly's names of the shapes that stand for dashes, on which a single point has no room. */
const SYMBOLS = { solid: "circle", dash: "diamond", dot: "square", dashdot: "cross" };
const onPaper = () => root.classList.contains("printing");
const narrow = () => root.clientWidth < NARROW && !onPaper();
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

const unpack = (field) => {
  if (field === null || typeof field === "number") return field;
  const bytes = Uint8Array.from(atob(field.bdata), (character) => character.charCodeAt(0));
  return new ARRAYS[field.dtype](bytes.buffer);
};
const grouped = (items, key) => {
  const groups = new Map();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return [...groups.values()];
};

// Plotly interprets <b>, <a href> and so on in its texts: escape them.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const signsOf = (text) => Array.from(new Intl.Segmenter("en").segment(text), ({ segment }) => segment);
/** Shorten a text in its middle: names of cells begin alike and often differ at their end. */
const short = (text, most) => {
  if (text.length <= most) return text;
  const signs = signsOf(text);
  const tail = Math.floor((most - 1) * 0.4);
  if (signs.length <= most) return text;
  const cut = `${signs.slice(0, most - 1 - tail).join("")}…${signs.slice(-tail).join("")}`;
  return `${cut}${"\u2069".repeat(Math.max(cut.split("\u2068").length - cut.split("\u2069").length, 0))}`; // close isolates that were cut
};
/** Break a long text into two lines, between words if possible. */
const inTwoLines = (text, most) => {
  const whole = short(text, 2 * most - 4);
  if (whole.length <= most) return [whole];
  const space = whole.lastIndexOf(" ", most);
  const signs = signsOf(whole);
  if (space > most / 3) return [whole.slice(0, space), whole.slice(space + 1)];
  return [signs.slice(0, most).join(""), signs.slice(most).join("")];
};
const nameOf = (index) => plain(short(data.cells[index].name, 80));
const translucent = (hex, alpha) => {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
};
const percent = (value, digits = 2) => `${(100 * value).toFixed(digits)} %`;
const shown = (value, share) => (share ? percent(value) : String(Number(value.toPrecision(4))));

/** The largest unit that gives an axis readable numbers, and its size. */
const unitOf = (axis, most) => {
  if (axis === "steps" || axis === "epoch" || axis === "images") return ["", 1];
  const [name, one] = (UNITS[axis] ?? UNITS.default).find(([, size, limit]) => most / size <= limit);
  return [name, one];
};
const titled = (label, unit) => (unit ? `${label} (${unit})` : label);

const touch = () => matchMedia("(pointer: coarse)").matches;
/** Of texts in figures, in pixels; a figure for a file has its own. */
const fontSize = () => Number(css("--figure-size")) || (narrow() ? 12 : 13);
const ruler = document.createElement("canvas").getContext("2d");
/** The width of a label in pixels. */
const widthOf = (text) => {
  ruler.font = `${fontSize()}px ${css("--sans")}`;
  return ruler.measureText(text).width;
};
/** The margin beside rows. Plotly's automatic margin measures every label and on a phone never settles. */
const roomFor = (plot, texts) => Math.min(Math.max(...texts.map(widthOf), 20) + 14, 0.6 * plot.clientWidth);
const axisStyle = (title = "") => ({
  title: { text: title, font: { size: fontSize() } },
  gridcolor: css("--grid"), linecolor: css("--strong-line"), tickcolor: css("--strong-line"), zeroline: false,
  showline: true, ticks: "outside", ticklen: 4, automargin: true, fixedrange: touch(), exponentformat: "power",
});
const MANTISSAS = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]];
const powerText = (value, share) => {
  if (share) return `${Number((100 * value).toPrecision(3))}%`;
  if (value >= 1e-3 && value < 1e5) return Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 6 });
  const power = Math.floor(Math.log10(value) + 1e-9);
  const times = Math.round(value / 10 ** power);
  return `${times === 1 ? "" : `${times}·`}10<sup>${power}</sup>`.replace("-", "−");
};
/** The ticks of a logarithmic axis, each with its whole number; plotly's own omit most powers. */
const logTicks = ([low, high], share) => {
  const between = (mantissas) => {
    const found = [];
    for (let power = Math.floor(low); power <= high; power += 1) found.push(...mantissas.map((one) => one * 10 ** power));
    return found.filter((value) => Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9);
  };
  const sets = MANTISSAS.map(between);
  const ticks = sets.find(({ length }) => length >= 4) ?? sets.at(-1);
  if (ticks.length < 2) return { tickmode: "auto", tickvals: null, ticktext: null };
  const every = Math.ceil(ticks.length / 9);
  const kept = ticks.filter((_, nth) => nth % every === 0);
  return { tickmode: "array", tickvals: kept, ticktext: kept.map((value) => powerText(value, share)) };
};
const scaleStyle = (log, ends, share = false) => (
  log ? { type: "log", ...(ends ? logTicks(ends, share) : {}) } : { type: "linear", tickmode: "auto", tickvals: null, ticktext: null });
/** Set the ticks of a logarithmic axis anew after a zoom. */
const retick = (plot) => {
  const followed = (change) => {
    const ticks = {};
    for (const axis of Object.keys(plot.layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      const { type, range, tickformat } = plot.layout[axis];
      if (type !== "log" || !Object.keys(change).some((key) => key.startsWith(`${axis}.range`) || key.startsWith(`${axis}.auto`))) continue;
      for (const [key, value] of Object.entries(logTicks(range, tickformat === "~%"))) ticks[`${axis}.${key}`] = value;
    }
    if (Object.keys(ticks).length) Plotly.relayout(plot, ticks);
  };
  plot.removeAllListeners?.("plotly_relayout");
  plot.on("plotly_relayout", followed);
};
const layoutStyle = () => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
  font: { family: css("--sans"), size: fontSize(), color: css("--ink") },
  hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--strong-line"), font: { color: css("--ink") }, align: "left" },
  dragmode: touch() ? false : "zoom",
  ...(onPaper() ? { width: PAPER } : { autosize: true }),
  modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--strong-line"), activecolor: css("--ink") },
});
const config = (filename) => ({
  responsive: true, displaylogo: false,
  // Name each button: plotly's default set includes one that uploads the figure.
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  showSendToCloud: false, plotlyServerURL: "",
  toImageButtonOptions: { format: "svg", filename: `${data.name}-${filename}` },
});
