// Two trials, or two cells, side by side: chosen in a table, compared in a dialog.
/** What is chosen, two at most, all of one kind: {kind, name} with the number of a trial or the name of a cell. */
let picked = [];
const isPicked = ({ kind, name }) => picked.some((one) => one.kind === kind && one.name === name);
const cellRow = (table, name) => {
  const index = data.cells.findIndex((cell) => cell.name === name);
  return document.querySelector(`${table} tbody tr[data-cell="${index}"]`);
};
const RESULTS = 'table[aria-labelledby="table-1"]';
const rowOf = ({ kind, name }) => (kind === "trial" ? byId(`trial-${name}`) : cellRow(RESULTS, name));
const exists = (one) => rowOf(one) !== null;
rememberList("compare",
  () => picked.map(({ kind, name }) => (kind === "trial" ? name : `cell:${name}`)),
  (texts) => {
    const isTrial = (text) => /^\d+$/.test(text);
    const named = new Set(texts.map((text) => (isTrial(text) ? text : `cell:${cellNamed(text.replace(/^cell:/, "")) ?? ""}`)));
    const found = [...named].map((text) => (isTrial(text) ? { kind: "trial", name: text } : { kind: "cell", name: text.slice(5) }));
    picked = found.filter((one) => one.kind === found[0].kind && exists(one)).slice(0, 2);
  });
const titleOf = ({ kind, name }) => (kind === "trial" ? `Trial ${name}` : name);

/** The box of a row that chooses it; null for rows of other tables. */
const pickOf = (row) => {
  if (trialOf(row) !== null) return { kind: "trial", name: String(trialOf(row)) };
  return row.closest(RESULTS) ? { kind: "cell", name: data.cells[row.dataset.cell].name } : null;
};
const dressPick = (row) => {
  const one = pickOf(row);
  if (!one) return;
  let box = row.querySelector("input.pick");
  if (!box) {
    box = made("input", { type: "checkbox", className: "made pick" });
    (row.querySelector(".opens") ?? row.querySelector(".swatch, .name")).before(box);
  }
  box.ariaLabel = `Compare ${one.kind === "trial" ? `trial ${one.name}` : one.name}`;
  box.checked = isPicked(one);
};
rowDressers.push(dressPick);
const onPick = ({ target }) => {
  if (!target.matches("input.pick")) return;
  const one = pickOf(target.closest("tr"));
  const others = picked.filter((other) => other.kind === one.kind && other.name !== one.name);
  picked = target.checked ? [...others.slice(-1), one] : others;
  viewChanged();
};

const dialog = made("dialog", { className: "compared", tabIndex: -1 });
dialog.setAttribute("aria-labelledby", "compared-title");
const bar = made("div", { className: "picked", hidden: true });
bar.setAttribute("role", "region");
bar.setAttribute("aria-label", "Comparison");
document.body.append(bar, dialog);
const barText = made("span", { role: "status" });
const openButton = made("button", { type: "button", className: "open" }, "Compare");
const clearButton = made("button", { type: "button" }, "Clear");
bar.append(barText, openButton, clearButton);
const showBar = () => {
  const [one] = picked;
  bar.hidden = !one;
  openButton.hidden = picked.length < 2;
  if (!one) return;
  const text = picked.length === 2 ? picked.map(titleOf).join(" and ") : `${titleOf(one)}: choose another ${one.kind} to compare it with`;
  if (barText.textContent !== text) barText.textContent = text;
};

/** What a cell of a table says, without its controls. */
const said = (cell) => (cell?.querySelector("bdi") ?? cell)?.textContent.replace(/\s+/g, " ").trim() || "–";
/** The texts of a row by the heads of its table, without drawings and what names the row. */
const saidBy = (row, leaveOut) => {
  if (!row) return [];
  const heads = [...headsOf(row.closest("table"))];
  return heads.flatMap((head, column) => {
    const name = said(head);
    return head.classList.contains("marked") || leaveOut.includes(name) ? [] : [[name, cellText(row.cells[column])]];
  });
};
const cellText = (cell) => {
  const words = [...cell.childNodes].filter((node) => !(node.matches?.(".made"))).map((node) => node.textContent).join(" ");
  return words.replace(/\s+/g, " ").trim() || "–";
};
const pairsOf = (list) => [...(list?.querySelectorAll("dt") ?? [])].map((term) => [said(term), said(term.nextElementSibling)]);
const settingsOf = ({ kind, name }) => (
  kind === "trial" ? pairsOf(detailsOf(name)?.querySelector("dl.set")) : saidBy(cellRow("table.differing", name), ["Cell"]));
/** Columns that name a row, or repeat a setting as the tables of a search do. */
const notResults = (one) => ["No.", "Cell", "Point", ...settingsOf(one).flatMap(([key]) => [key, key.replace(/\.name$/, "").split(".").at(-1)])];
const resultsOf = (one) => {
  const leftOut = notResults(one);
  if (one.kind === "trial") {
    const last = pairsOf(detailsOf(one.name)?.querySelector("dl.last"));
    // The column of the accuracy says the same with fewer digits.
    return [...last, ...saidBy(rowOf(one), [...leftOut, ...(last.length ? ["Accuracy", data.accuracy] : [])])];
  }
  return [...saidBy(rowOf(one), leftOut), ...saidBy(cellRow("table.resources", one.name), leftOut)];
};
/** Lines {what, texts} for everything that one of both says. */
const linesFor = (tell) => {
  const [a, b] = picked.map((one) => new Map(tell(one)));
  return [...new Set([...a.keys(), ...b.keys()])].map((what) => ({ what, texts: [a, b].map((side) => side.get(what) ?? "–") }));
};
const isAlike = ({ texts: [a, b] }) => a === b;
const comparedTable = (lines) => made("table", { className: "sides" },
  made("thead", {}, made("tr", {}, made("td", {}), ...SIDES.map((side) => made("th", { scope: "col" }, side)))),
  made("tbody", {}, ...lines.map(({ what, texts }) => (
    made("tr", {}, made("th", { scope: "row" }, what), ...texts.map((text) => made("td", {}, made("bdi", {}, text))))))));
const section = (title, lines, none) => {
  const [alike, unlike] = [lines.filter((line) => isAlike(line) && line.texts[0] !== "–"), lines.filter((line) => !isAlike(line))];
  const same = alike.length ? [made("p", { className: "caption" }, `The same in both: ${alike.map(({ what, texts }) => `${what} ${texts[0]}`).join("; ")}.`)] : [];
  return [made("h3", {}, title), unlike.length ? comparedTable(unlike) : made("p", {}, none), ...same];
};
const CARE = "No test stands behind a difference between two that were chosen by their results: the best of many differ by chance as well. A hypothesis of the study tests one.";

const sideOf = (one) => ({
  name: titleOf(one),
  line: (metric) => (one.kind === "trial" ? trialLine(metric, one.name, axisChosen())
    : cellLine(metric, data.cells.findIndex(({ name }) => name === one.name), axisChosen())),
});
const axisChosen = () => dialog.querySelector("#compared-x").value;
/** The axes of cells, or of trials as far as they are known on the page. */
const axesFor = (kind) => data.axes.filter(({ name }) => kind === "cell" || !OF_THE_MACHINE.has(name) || data.trials.clocks[name]);
const options = (pairs) => pairs.map(([value, text]) => made("option", { value }, text));
const field = (label, id, pairs) => made("label", { className: "field" }, `${label} `, made("select", { id }, ...options(pairs)));
const curvesPart = () => {
  const { kind } = picked[0];
  const metrics = metricsOf(kind);
  if (typeof Plotly === "undefined" || !metrics.length) return [];
  const axes = [["steps", "Steps"], ...axesFor(kind).map(({ name, label }) => [name, label])];
  const missing = kind === "trial" ? data.trials.left_out : [];
  return [
    made("h3", {}, "Curves"),
    made("div", { className: "controls" }, field("x axis", "compared-x", axes),
      field("y axis", "compared-y", metrics.map(({ label }, nth) => [String(nth), label]))),
    made("div", { id: "compared-plot", role: "group", ariaLabel: "Curves of both; their last values stand above." }),
    made("p", { className: "caption", id: "compared-told", role: "status" }),
    ...(missing.length ? [made("p", { className: "caption" }, `The page has no room for the curves of single trials of: ${missing.join(", ")}.`)] : []),
  ];
};
const drawComparedPlot = () => {
  const plot = byId("compared-plot");
  if (!plot || !dialog.open) return;
  const metric = metricsOf(picked[0].kind)[Number(byId("compared-y").value)];
  const without = drawCompared(plot, metric, axisChosen(), picked.map(sideOf));
  byId("compared-told").textContent = without.length ? `Without a curve of it: ${without.join(" and ")}.` : "";
};
const sideHead = (one, side) => {
  const swatch = made("i", { className: "side" });
  swatch.style.setProperty("--own", `var(--c${side})`);
  const link = one.kind === "trial" ? made("a", { href: `#trial-${one.name}` }, titleOf(one)) : made("bdi", {}, titleOf(one));
  const more = one.kind === "trial" ? [` · ${cellText(rowOf(one).cells[2])}`] : [];
  return made("li", {}, swatch, made("span", {}, made("b", {}, `${SIDES[side]} `), link, ...more));
};
/** Fill the dialog anew; what its menus show stays. */
const fillDialog = () => {
  const kept = new Map([...dialog.querySelectorAll("select")].map((menu) => [menu.id, menu.selectedOptions[0]?.text]));
  const settings = linesFor(settingsOf);
  const alike = picked[0].kind === "trial" && picked.map((one) => rowOf(one).querySelector(".name").textContent);
  dialog.replaceChildren(
    made("button", { type: "button", className: "close", ariaLabel: "Close" }, "×"),
    made("h2", { id: "compared-title" }, picked[0].kind === "trial" ? "Two trials compared" : "Two cells compared"),
    made("ul", { className: "heads" }, ...picked.map(sideHead)),
    ...section("Settings", settings, alike && alike[0] === alike[1] ? "None: both are trials of one cell."
      : settings.length ? "None differs." : "The page does not know them."),
    ...section("Results", linesFor(resultsOf), "None differs."),
    made("p", { className: "caption" }, CARE),
    ...curvesPart(),
  );
  for (const menu of dialog.querySelectorAll("select")) {
    for (const option of menu.options) if (option.text === kept.get(menu.id)) option.selected = true;
  }
  drawComparedPlot();
};
const openDialog = () => {
  if (picked.length < 2) return;
  fillDialog();
  dialog.showModal();
  dialog.focus();
  drawComparedPlot(); // a plot needs its size
  dialog.scrollTop = 0;
};

/** Whether the address asks for the comparison: at first, and when the reader changes it. */
let asked = partsOf(location.hash.slice(1)).has("compare");
const onPicks = () => {
  for (const box of document.querySelectorAll("input.pick")) {
    const one = pickOf(box.closest("tr"));
    if (one && box.checked !== isPicked(one)) box.checked = isPicked(one);
  }
  showBar();
  if (dialog.open && picked.length < 2) dialog.close();
  else if (dialog.open) fillDialog();
  else if (asked) openDialog();
  asked = false;
};
document.addEventListener("change", onPick);
document.addEventListener("view-changed", onPicks);
document.addEventListener("page-changed", onPicks);
addEventListener("hashchange", () => { asked = partsOf(location.hash.slice(1)).has("compare"); });
addEventListener("resize", drawComparedPlot);
openButton.addEventListener("click", openDialog);
clearButton.addEventListener("click", () => {
  picked = [];
  viewChanged();
});
dialog.addEventListener("change", drawComparedPlot);
dialog.addEventListener("click", ({ target }) => {
  if (target === dialog || target.closest(".close, a[href^='#']")) dialog.close();
});
