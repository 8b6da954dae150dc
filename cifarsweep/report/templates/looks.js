// How each cell looks: its colour, and its dash or the shape that stands for it.
const COLOURS = 7; // of palette.py, for texts
const STEPS = 13; // of its scale for numbers
const DASHES = Object.keys(SYMBOLS);
/** The variable of a level's colour: numbers follow the scale from the least to the most. Arms may have no level. */
const levelColour = (factor, level) => {
  const { levels, numeric } = data.factors[factor];
  if (level === null) return "--strong-line";
  if (!numeric) return `--c${level % COLOURS}`;
  const rank = levels.filter((other) => Number(other) < Number(levels[level])).length;
  return `--s${Math.round((rank * (STEPS - 1)) / (levels.length - 1))}`;
};
/** What dashes tell apart among cells of one colour: all other factors, or the first of them with few enough levels. */
const dashKey = (factor) => {
  const rest = (cell) => cell.levels.filter((_, other) => other !== factor).join();
  if (new Set(data.cells.map(rest)).size <= DASHES.length) return rest;
  const few = data.factors.findIndex(({ levels }, other) => other !== factor && levels.length <= DASHES.length);
  return (cell) => cell.levels[few];
};
/** The factor that colours follow: the reader's; else, where cells look alike, the first of numbers or of all. */
const colourFactor = () => {
  if (view.colour !== null || !data.factors.length) return view.colour;
  if (new Set(data.cells.map(({ colour, dash }) => `${colour} ${dash}`)).size === data.cells.length) return null;
  return Math.max(data.factors.findIndex(({ numeric }) => numeric), 0);
};
/** The look of every cell: its own, or by its level of the factor that colours follow. */
const allLooks = () => {
  const factor = colourFactor();
  if (factor === null) return new Map(data.cells.map((cell) => [cell, { colour: `--c${cell.colour}`, dash: cell.dash }]));
  const key = dashKey(factor);
  const keys = [...new Set(data.cells.map(key))];
  return new Map(data.cells.map((cell) => (
    [cell, { colour: levelColour(factor, cell.levels[factor]), dash: DASHES[keys.indexOf(key(cell)) % DASHES.length] }])));
};
let looks = null;
const lookOf = (cell) => {
  if (!looks?.has(cell)) looks = allLooks();
  return looks.get(cell);
};
const colour = (cell) => css(lookOf(cell).colour);
const dashOf = (cell) => lookOf(cell).dash;
const symbolOf = (cell) => SYMBOLS[dashOf(cell)];

/** Give the marks of cells in tables and keys the look that figures have. */
const dressMarks = () => {
  const dressed = colourFactor() !== null;
  if (!dressed && !root.classList.contains("dressed")) return;
  root.classList.toggle("dressed", dressed);
  for (const place of document.querySelectorAll("[data-cell]")) if (!dressed || isNear(place)) dressMark(place);
};
const dressMark = (place) => {
  const cell = data.cells[place.dataset.cell];
  if (!cell) return;
  const look = lookOf(cell);
  place.style.setProperty("--own", `var(${look.colour})`);
  for (const line of place.querySelectorAll(".swatch line")) line.setAttribute("stroke-dasharray", data.marks[look.dash].dash);
  for (const path of place.querySelectorAll(".shape path")) path.setAttribute("d", data.marks[look.dash].shape);
};
document.addEventListener("view-changed", () => {
  looks = null;
  dressMarks();
});
