// Which part of `report --view` names nothing on the page. Who follows a link is shown what is left of it; who types a
// command is told. `paper.view` is the text as it was given.
const listed = (all) => ({ all, has: (text) => all().includes(text) });
const optionsNamed = (selector, nameOf = (value) => value) => listed(() => [...document.querySelectorAll(selector)].map(({ value }) => nameOf(value)));
const SWITCH = listed(() => ["0", "1"]);
const FACTOR = { all: () => data.factors.map(({ name }) => name), has: (text) => factorNamed(text) !== null };
const AXIS = listed(() => data.search?.axes.flatMap(({ key }) => [key, `${key}:log`, `${key}:linear`]) ?? []);
const MATRIX = optionsNamed("#confusion-cell option", (value) => data.cells[value]?.name);
/** By key what a value may name; keys that change no figure are not looked at. */
const NAMED = {
  hide: { all: () => levelNames().map(({ text }) => text), has: (text) => levelNames().some((level) => isNamed(level, [text])), list: true },
  cells: { all: () => data.cells.map(({ name }) => name), has: (text) => cellNamed(text) !== null, list: true },
  colour: FACTOR, panels: FACTOR, "pair-x": AXIS, "pair-y": AXIS,
  x: optionsNamed("input[name=x]"), y: optionsNamed("#y-axis option", (value) => data.metrics[value]?.name),
  smoothing: optionsNamed("#smoothing option"), cost: optionsNamed("input[name=cost]", (value) => data.costs[value]?.name),
  matrix: { ...MATRIX, has: (text) => MATRIX.has(cellNamed(text)) },
  bands: SWITCH, logx: SWITCH, logy: SWITCH, close: SWITCH, logcost: SWITCH,
};
const unknownPart = (part) => {
  const [key, text] = [part.split("=", 1)[0], part.slice(part.indexOf("=") + 1)];
  const keys = [...remembered.keys(), "at"];
  if (!part.includes("=") || !keys.includes(key)) return { key: null, text: part.split("=", 1)[0], known: keys };
  const named = NAMED[key];
  const lost = (named?.list ? text.split(",") : [text]).map(decoded).find((each) => named && !named.has(each));
  return lost === undefined ? null : { key, text: lost, known: [...new Set(named.all().filter(Boolean))] };
};
/** The first part that names nothing: its key, the text, and what there is; null where all name something. */
const unknownInView = () => {
  const view = paper.view;
  if (!view.includes("=") && (!view || byId(decoded(view)))) return null; // a place of the page
  return view.split("&").filter(Boolean).map(unknownPart).find(Boolean) ?? null;
};
