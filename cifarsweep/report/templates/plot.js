// What all figures share: data, colours, texts, axes, and which cells the reader chose.
const data = JSON.parse(document.getElementById("report-data").textContent);
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const ARRAYS = { i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };
const PAPER = 680; // pixels between the margins of A4 and of US letter
const MANY = 12; // cells from which a figure is drawn more lightly
const UNITS = {
  elapsed_s: [["s", 1, 180], ["min", 60, 180], ["h", 3600, Infinity]],
  energy_j: [["J", 1, 2e3], ["kJ", 1e3, 2e3], ["MJ", 1e6, Infinity]],
  default: [["", 1, 2e3], ["k", 1e3, 2e3], ["M", 1e6, 2e3], ["G", 1e9, 2e3], ["T", 1e12, 2e3], ["P", 1e15, 2e3], ["E", 1e18, Infinity]],
};
const SYMBOLS = { solid: "circle", dash: "diamond", dot: "square", dashdot: "cross" };
const chosen = new Set();
const isShown = (place) => !chosen.size || chosen.has(place);
const onPaper = () => root.classList.contains("printing");
const narrow = () => root.clientWidth < 640 && !onPaper();
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const colour = (cell) => css(`--c${cell.colour}`);

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

// Plotly reads <b>, <a href> and their like in its texts; here a text is only ever text.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const nameOf = (place) => plain(short(data.cells[place].name, 60));
const translucent = (hex, alpha) => {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
};
const percent = (value, digits = 2) => `${(100 * value).toFixed(digits)} %`;
const shown = (value, share) => (share ? percent(value) : String(Number(value.toPrecision(4))));

/** The largest unit in which an axis still has numbers worth reading, and how much one of it is. */
const unitOf = (axis, most) => {
  if (axis === "steps" || axis === "epoch" || axis === "images") return ["", 1];
  const [name, one] = (UNITS[axis] ?? UNITS.default).find(([, size, limit]) => most / size <= limit);
  return [name, one];
};
const titled = (label, unit) => (unit ? `${label} (${unit})` : label);

const touch = () => matchMedia("(pointer: coarse)").matches;
const fontSize = () => (narrow() ? 12 : 13);
const axisStyle = (title = "") => ({
  title: { text: title, font: { size: fontSize() } },
  gridcolor: css("--grid"), linecolor: css("--strong-line"), tickcolor: css("--strong-line"), zeroline: false,
  showline: true, ticks: "outside", ticklen: 4, automargin: true, fixedrange: touch(), exponentformat: "power",
});
/** Logarithmic axes name 1, 2 and 5 of a decade where they show few, else the decades. */
const scaleStyle = (log, ends) => (log ? { type: "log", dtick: ends && ends[1] - ends[0] > 2.5 ? 1 : "D2" } : { type: "linear" });
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
  // Named one by one: among plotly's own choice is a button that uploads the figure.
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  showSendToCloud: false, plotlyServerURL: "",
  toImageButtonOptions: { format: "svg", filename: `${data.name}-${filename}` },
});
