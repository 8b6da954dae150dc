// What the reader chose to see, and the address that says it, so that a link shows what its sender saw.
/** Levels hidden by the chips as "factor:level", the factors that colours and panels follow, and whether curves have
 * bands: null while their number decides. Indices are those of `data.factors`. `anchor` is the id that was jumped to. */
const view = { hidden: new Set(), colour: null, panels: null, bands: null, anchor: "" };
/** Cells chosen in the legend; none means all. */
const chosen = new Set();
const isHidden = (index) => data.cells[index].levels.some((level, factor) => view.hidden.has(`${factor}:${level}`));
const isShown = (index) => !isHidden(index) && (!chosen.size || chosen.has(index));

const encoded = (text) => encodeURIComponent(text.toWellFormed()).replace(/%(2F|3A|3D)/g, decodeURIComponent);
const decoded = (part) => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a link that was cut or typed wrongly names nothing that is known
  }
};
const remembered = new Map();
/** Keep a choice in the address: `read` gives its text, or null for what a page shows by itself; `write` takes either
 * and only sets it: "view-changed" follows. Texts name things, as numbers may change when a study grows. */
const remember = (key, read, write) => remembered.set(key, {
  read: () => {
    const text = read();
    return text === null ? null : encoded(text).replaceAll("%2C", ",");
  },
  write: (part) => write(part === null ? null : decoded(part)),
});
/** The same for a list of texts, which may hold commas; an empty one is what a page shows by itself. */
const rememberList = (key, read, write) => remembered.set(key, {
  read: () => read().map(encoded).join(",") || null,
  write: (part) => write(part === null ? [] : part.split(",").map(decoded)),
});

const choicesText = () => (
  [...remembered].map(([key, { read }]) => [key, read()]).filter(([, part]) => part !== null).map((pair) => pair.join("=")).join("&"));
const partsOf = (fragment) => new Map(
  fragment.split("&").filter((part) => part.includes("=")).map((part) => [part.split("=", 1)[0], part.slice(part.indexOf("=") + 1)]));
/** Set every remembered choice from the text of them all; unknown keys say nothing. */
const recall = (text) => {
  const parts = partsOf(text);
  for (const [key, { write }] of remembered) write(parts.get(key) ?? null);
};
/** What the reader chose until now, as the address says it. */
let choices = "";
/** Write the choices into the address. An anchor alone stays as it is, beside choices it becomes `at=`. */
const record = () => {
  choices = choicesText();
  const at = choices && view.anchor ? `at=${encoded(view.anchor)}` : view.anchor && encodeURI(view.anchor);
  const fragment = [choices, at].filter(Boolean).join("&");
  if (fragment === location.hash.slice(1)) return;
  try {
    history.replaceState(history.state, "", location.href.split("#")[0] + (fragment && `#${fragment}`));
  } catch { /* a browser may allow no address, as in a frame, or no more of them for some seconds */ }
};
/** Call this after any change of `view` or `chosen`. */
const viewChanged = () => {
  document.dispatchEvent(new CustomEvent("view-changed"));
  record();
};
/** Follow the address, at first and when the reader changes it. A fragment without "=" is an anchor: choices stay. */
const followAddress = () => {
  const fragment = location.hash.slice(1);
  const chooses = fragment.includes("=");
  if (chooses) recall(fragment);
  view.anchor = decoded(chooses ? partsOf(fragment).get("at") ?? "" : fragment);
  viewChanged();
  if (chooses) byId(view.anchor)?.scrollIntoView();
};
/** Take newer data; choices stay, by the names of what was chosen. The page around the data may be new already. */
const takeNewer = (newer) => {
  Object.assign(data, newer);
  recall(choices);
  viewChanged();
};

/** What a link may call a factor: its name, its key, or the last part of the key, which earlier pages showed. */
const NAMES = [({ name }) => name, ({ key }) => key, ({ key }) => key.split(".").at(-1)];
/** The index of the factor that a link names; null for none, and for a name of several. */
const factorNamed = (text) => {
  for (const nameOf of NAMES) {
    const found = data.factors.filter((factor) => nameOf(factor) === text);
    if (found.length) return found.length === 1 ? data.factors.indexOf(found[0]) : null;
  }
  return null;
};
/** Every level of every factor, as the address names it, and by the other names of its factor. */
const levelNames = () => data.factors.flatMap((factor, index) => (
  factor.levels.map((text, level) => ({ id: `${index}:${level}`, text: `${factor.name}:${text}`, level: text, index }))));
const isNamed = ({ index, level }, texts) => texts.some((text) => (
  text.endsWith(`:${level}`) && factorNamed(text.slice(0, -level.length - 1)) === index));
rememberList("hide",
  () => levelNames().filter(({ id }) => view.hidden.has(id)).map(({ text }) => text),
  (texts) => { view.hidden = new Set(levelNames().filter((each) => isNamed(each, texts)).map(({ id }) => id)); });
for (const key of ["colour", "panels"]) {
  remember(key, () => data.factors[view[key]]?.name ?? null, (text) => { view[key] = factorNamed(text); });
}
remember("bands", () => (view.bands === null ? null : String(Number(view.bands))), (text) => { view.bands = text === null ? null : text === "1"; });
/** The name of the cell that a link names, in the words of this version or of another; null for none. */
const cellNamed = (text) => (data.cells.find(({ name }) => name === text) ?? data.cells.find(({ also }) => also === text))?.name ?? null;
rememberList("cells", () => [...chosen].map((index) => data.cells[index].name), (texts) => {
  const names = new Set(texts.map(cellNamed));
  chosen.clear();
  data.cells.forEach(({ name }, index) => { if (names.has(name)) chosen.add(index); });
});

/** Keep a control of a figure: one of the options of a list, or of radio buttons, by the name of what it stands for. */
const rememberOption = (key, selector, nameOf = (value) => value, meant = (text) => text) => {
  const options = () => [...document.querySelectorAll(selector)];
  const mark = (option) => (option.localName === "option" ? "selected" : "checked");
  const first = (all) => all.find((option) => option.defaultSelected || option.defaultChecked) ?? all[0];
  remember(key, () => {
    const taken = options().find((option) => option[mark(option)]);
    return taken && taken !== first(options()) ? nameOf(taken.value) : null;
  }, (text) => {
    const name = meant(text);
    const taken = options().find(({ value }) => nameOf(value) === name) ?? first(options());
    if (taken) taken[mark(taken)] = true;
  });
};
const rememberCheck = (key, id) => remember(key, () => (byId(id)?.checked ? "1" : null), (text) => {
  if (byId(id)) byId(id).checked = text === "1";
});
rememberOption("x", "input[name=x]");
rememberOption("y", "#y-axis option", (value) => data.metrics[value]?.name);
rememberCheck("logx", "log-x");
rememberCheck("logy", "log-scale");
rememberOption("smoothing", "#smoothing option");
rememberCheck("close", "close-up");
rememberOption("cost", "input[name=cost]", (value) => data.costs[value]?.name);
rememberCheck("logcost", "log-cost");
rememberOption("matrix", "#confusion-cell option", (value) => data.cells[value]?.name, cellNamed);
