// The bar of factors above the figures: levels to hide and to isolate, and what colours and panels follow.
const chips = () => [...document.querySelectorAll("#chips .chip")];
const levelIds = (factor) => data.factors[factor].levels.map((_, level) => `${factor}:${level}`);
const factorOf = (id) => Number(id.split(":")[0]);
/** Whether a level is the only one of its factor that is shown. */
const isAlone = (id) => levelIds(factorOf(id)).every((other) => view.hidden.has(other) === (other !== id));
/** Hide a level or show it again. The last of a factor can't go: all of them come back instead. */
const toggleLevel = (id) => {
  if (isAlone(id)) showLevels(factorOf(id));
  else if (!view.hidden.delete(id)) view.hidden.add(id);
};
const showLevels = (factor) => { for (const id of levelIds(factor)) view.hidden.delete(id); };
/** Show a level alone of its factor, or all of them if it is alone. */
const isolateLevel = (id) => {
  const alone = isAlone(id);
  showLevels(factorOf(id));
  if (!alone) for (const other of levelIds(factorOf(id))) if (other !== id) view.hidden.add(other);
};
const onChip = (event) => {
  const button = event.target.closest("#chips button");
  if (!button) return;
  const id = button.closest(".chip")?.dataset.level;
  if (!id) view.hidden.clear();
  else if (event.altKey || button.classList.contains("alone")) isolateLevel(id);
  else toggleLevel(id);
  viewChanged();
};
const onLooks = ({ target }) => {
  const key = { "colour-by": "colour", "panels-by": "panels" }[target.id];
  if (!key) return;
  view[key] = target.value === "" ? null : Number(target.value);
  viewChanged();
};
/** Show in the bar what is chosen: a level that colours has its colour in its chip. */
const dressChips = () => {
  const bar = byId("chips");
  if (!bar) return;
  const coloured = colourFactor();
  for (const chip of chips()) {
    const id = chip.dataset.level;
    const [factor, level] = id.split(":").map(Number);
    const [shows, alone] = chip.children;
    shows.setAttribute("aria-pressed", String(!view.hidden.has(id)));
    alone.setAttribute("aria-pressed", String(isAlone(id)));
    chip.classList.toggle("coloured", coloured === factor);
    if (coloured === factor) chip.style.setProperty("--own", `var(${levelColour(factor, level)})`);
  }
  byId("colour-by").value = coloured ?? "";
  byId("panels-by").value = view.panels ?? "";
  const [left, all] = [kept().length, data.cells.length];
  byId("chips-count").textContent = left === all ? `All ${all} cells` : left ? `${left} of ${all} cells` : "No cell has these levels together";
  const again = byId("chips-all");
  // Hiding a focused button would lose the focus.
  if (!view.hidden.size && document.activeElement === again) chips()[0].firstChild.focus();
  again.hidden = !view.hidden.size;
};
/** The bar stays in sight where it leaves most of the screen to the figures. */
const fitBar = () => {
  const bar = byId("chips");
  bar?.classList.toggle("sticky", bar.offsetHeight <= 0.16 * innerHeight);
};
document.addEventListener("click", onChip);
document.addEventListener("change", onLooks);
document.addEventListener("view-changed", dressChips);
document.addEventListener("view-changed", fitBar);
addEventListener("resize", fitBar);
