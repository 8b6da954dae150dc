// The tables: sorted by a click on a head, filtered as the figures are, and rows of trials that open.
const sortables = (page = document) => [...page.querySelectorAll("table.sortable")];
const keyOf = (table) => table.getAttribute("aria-labelledby");
const headsOf = (table) => [...table.tHead.rows].at(-1).cells;
const bodyOf = (table) => table.tBodies[0];
const made = (name, properties, ...children) => {
  const element = document.createElement(name);
  const { dataset, ...plainly } = properties;
  Object.assign(element, plainly);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
};

/** By the key of a table: the column that it is sorted by, and whether the greatest value comes first. */
const sorting = new Map();
rememberList("sort",
  () => [...sorting].map(([key, { column, down }]) => `${key}:${column + 1}${down ? "d" : "a"}`),
  (texts) => {
    sorting.clear();
    for (const [, key, column, way] of texts.map((text) => /^([\w-]+):([1-9]\d?)([ad])$/.exec(text)).filter(Boolean)) {
      sorting.set(key, { column: column - 1, down: way === "d" });
    }
  });

/** What a cell sorts by: a number, a text, or null where it is missing. */
const valueOf = (cell) => {
  const text = cell?.dataset.value ?? cell?.textContent.trim() ?? "";
  if (text === "" || text === "–") return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
};
const collator = new Intl.Collator("en", { numeric: true });
/** Numbers come before texts. */
const byValue = (a, b) => {
  if (typeof a === typeof b) return typeof a === "number" ? a - b || 0 : collator.compare(a, b);
  return typeof a === "number" ? -1 : 1;
};
/** The rows of a table as it was served, each with the rows that tell more of it. */
const groupsOf = (table) => {
  const groups = [];
  for (const row of bodyOf(table).rows) {
    if (row.classList.contains("more")) groups.at(-1).push(row);
    else groups.push([row]);
  }
  if (groups.some(([row]) => row.dataset.nth === undefined)) groups.forEach(([row], nth) => { row.dataset.nth = nth; });
  return groups.sort(([a], [b]) => a.dataset.nth - b.dataset.nth);
};
/** Rows in order; equal ones as they were served, those without a value last. */
const inOrder = (groups, { column, down }) => {
  const valued = groups.map((group) => ({ group, value: valueOf(group[0].cells[column]) }));
  const known = valued.filter(({ value }) => value !== null).sort((a, b) => (down ? -1 : 1) * byValue(a.value, b.value));
  return [...known, ...valued.filter(({ value }) => value === null)].map(({ group }) => group);
};
/** By table, how its rows stand. */
const standing = new WeakMap();
const order = (table) => {
  const wanted = sorting.get(keyOf(table));
  [...headsOf(table)].forEach((head, column) => {
    if (wanted?.column === column) head.setAttribute("aria-sort", wanted.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  const text = wanted ? `${wanted.column} ${wanted.down}` : "";
  if ((standing.get(table) ?? "") === text) return;
  standing.set(table, text);
  const groups = groupsOf(table);
  bodyOf(table).append(...(wanted ? inOrder(groups, wanted) : groups).flat());
};
/** A button in each head but those of drawings. */
const dressHeads = (table) => {
  for (const head of headsOf(table)) {
    if (head.classList.contains("marked") || head.querySelector(".sort")) continue;
    head.append(made("button", { type: "button", className: "sort" }, ...head.childNodes));
  }
};
/** Ascending, then descending, then as served. */
const sortBy = (button) => {
  const head = button.closest("th");
  const [key, column] = [keyOf(head.closest("table")), head.cellIndex];
  const last = sorting.get(key);
  sorting.delete(key);
  if (last?.column !== column) sorting.set(key, { column, down: false });
  else if (!last.down) sorting.set(key, { column, down: true });
  viewChanged();
};

const filters = () => view.hidden.size > 0 || chosen.size > 0;
/** Rows without a cell of the figures, such as points of a search, are shown while nothing is filtered. */
const isRowShown = (row) => !filters() || (row.dataset.cell !== undefined && isShown(Number(row.dataset.cell)));
const isOfTrials = (table) => table.classList.contains("trials");
const trialOf = (row) => (row.id.startsWith("trial-") ? Number(row.id.slice(6)) : null);
/** The number of the trial that the address leads to. */
const wantedTrial = () => {
  const found = /^(?:trial|more|error)-(\d+)$/.exec(view.anchor);
  return found ? Number(found[1]) : null;
};
/** What the address asks of the table of trials that its filter or its length does not give. */
const sayWanted = (kept) => {
  const number = wantedTrial();
  if (kept) return `Trial ${number} is not among them; it is shown because the address leads to it. `;
  if (number === null || byId(`trial-${number}`)) return "";
  return `Trial ${number} is not listed on this page: “cifarsweep show ${data.name}/${number}” tells of it, if there is one. `;
};
const sayShown = (table, count, all, kept) => {
  const note = noteOf(table);
  if (!note) return;
  const ofTrials = isOfTrials(table);
  const counted = count - kept < all ? `${count - kept} of ${all} ${ofTrials ? "trials" : "cells"} shown. ` : "";
  const text = counted + (ofTrials ? sayWanted(kept) : "");
  if (note.firstChild.data === text) return;
  note.firstChild.data = text;
  note.querySelector("button").hidden = !counted;
};
const notes = new WeakMap();
/** The line above a table that says how many of its rows are shown. */
const noteOf = (table) => {
  if (!table.isConnected || table.ownerDocument !== document) return null;
  if (!notes.has(table)) {
    const note = made("p", { className: "made rows-shown", role: "status" }, document.createTextNode(""),
      made("button", { type: "button", className: "show-rows", hidden: true }, "Show all"));
    table.closest(".scroll").before(note);
    notes.set(table, note);
  }
  return notes.get(table);
};
const filter = (table) => {
  const rows = [...bodyOf(table).rows];
  if (!isOfTrials(table) && !rows.some((row) => row.dataset.cell !== undefined)) return;
  const wanted = wantedTrial();
  let [count, all, kept, hide] = [0, 0, false, false]; // rows that are told more of hide with the row before
  for (const row of rows) {
    if (!row.classList.contains("more")) {
      const isWanted = wanted !== null && trialOf(row) === wanted;
      const shownRow = isRowShown(row);
      hide = !shownRow && !isWanted;
      kept ||= !shownRow && isWanted;
      all += 1;
      count += !hide;
    }
    if (row.hidden !== hide) row.hidden = hide;
  }
  sayShown(table, count, all, kept);
};
const showAllRows = () => {
  view.hidden.clear();
  chosen.clear();
  viewChanged();
};

/** What a row opens is served as text for readers without scripts, and built when it is wanted. */
const unpacked = (row) => {
  const packed = row?.querySelector("noscript");
  if (packed) {
    const built = document.createElement("template");
    // A newer page of the dashboard was read without scripts, so it has elements there.
    built.innerHTML = packed.firstElementChild ? packed.innerHTML : packed.textContent;
    packed.replaceWith(built.content);
  }
  return row;
};
const unpackAll = () => document.querySelectorAll("tr.more").forEach(unpacked);
const detailsOf = (number) => unpacked(byId(`more-${number}`))?.querySelector("details");
/** Let the button of a row say whether it is open. */
const sayOpen = (details) => {
  const opens = byId(details?.closest("tr.more")?.id.replace("more", "trial"))?.querySelector(".opens");
  if (opens) opens.ariaExpanded = String(details.open);
};
/** A button that opens the row of a trial. */
const dressOpens = (row) => {
  const number = trialOf(row);
  if (number === null || row.querySelector(".opens")) return;
  const opens = made("button", { type: "button", className: "made opens", ariaLabel: `Details of trial ${number}` });
  opens.setAttribute("aria-controls", `more-${number}`);
  opens.ariaExpanded = String(byId(`more-${number}`)?.querySelector("details")?.open ?? false);
  row.cells[0].prepend(opens);
};
/** What gives rows their looks and controls, when the reader comes near: a long table takes its time. */
const rowDressers = [(row) => { if (root.classList.contains("dressed")) dressMark(row); }, dressOpens];
const dressRows = (table) => {
  for (const row of bodyOf(table).rows) {
    if (!row.classList.contains("more")) for (const dress of rowDressers) dress(row);
  }
};
const nearTables = new Set();
/** Whether an element is in no table that the reader has not come near to, nor printed. */
const isNear = (element) => {
  const table = element.closest("table.sortable");
  return !table || nearTables.has(table) || onPaper();
};
const tableWatcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const table = isIntersecting && target.querySelector("table.sortable");
    if (!table || nearTables.has(table)) continue;
    nearTables.add(table);
    dressRows(table);
  }
}, { rootMargin: "800px" });

let marked = null;
/** Go to the trial that the address names: open its row and mark it. */
const goToTrial = () => {
  const number = wantedTrial();
  for (const row of document.querySelectorAll("tr.here")) if (trialOf(row) !== number) row.classList.remove("here");
  const row = number === null ? null : byId(`trial-${number}`);
  row?.classList.add("here");
  if (number === marked) return;
  marked = number;
  if (number === null) return;
  const details = detailsOf(number);
  if (details) details.open = true;
  if (row) byId(view.anchor).scrollIntoView({ block: "center" });
  else byId("trials")?.scrollIntoView();
};
const arrange = () => {
  const focused = document.activeElement;
  for (const table of sortables()) {
    dressHeads(table);
    order(table);
    filter(table);
  }
  goToTrial();
  // A row that is moved loses the focus.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
};

const openRow = (row) => {
  const details = detailsOf(trialOf(row));
  if (details) details.open = !details.open;
  sayOpen(details);
};
const onTableClick = (event) => {
  const { target } = event;
  const button = target.closest("button");
  if (button?.matches(".sort")) sortBy(button);
  else if (button?.matches(".show-rows")) showAllRows();
  else if (button?.matches(".opens")) openRow(button.closest("tr"));
  else if (target.closest("a[href^='#']")) {
    marked = null; // the same link again goes there again
    if (target.closest("a").hash === location.hash) goToTrial();
  } else if (!target.closest("a, button, input, label, summary") && getSelection().isCollapsed) {
    const row = target.closest("tr[id^='trial-']");
    if (row) openRow(row);
  }
};
const onToggle = ({ target }) => sayOpen(target);
/** A newer page is arranged as this one before it takes its place. */
const onArrival = ({ detail: page }) => {
  for (const fresh of page.querySelectorAll("tr.more")) {
    const [served, packed] = [fresh.querySelector("noscript"), byId(fresh.id)?.querySelector("noscript")];
    if (served && packed) packed.textContent = served.innerHTML;
    else if (served) unpacked(fresh);
    else packed?.remove();
  }
  for (const table of sortables(page)) {
    dressHeads(table);
    order(table);
    filter(table);
  }
};
const watchTables = () => {
  for (const table of sortables()) {
    tableWatcher.observe(table.closest(".scroll"));
    if (nearTables.has(table)) dressRows(table);
  }
};
root.classList.add("scripted");
document.addEventListener("click", onTableClick);
document.addEventListener("toggle", onToggle, true);
document.addEventListener("view-changed", arrange);
document.addEventListener("page-arrives", onArrival);
document.addEventListener("details-wanted", unpackAll);
addEventListener("beforeprint", unpackAll);
document.addEventListener("page-changed", () => {
  arrange();
  watchTables();
});
watchTables();
