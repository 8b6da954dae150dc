// On a phone, long parts that hold no answer are folded, each behind a line that says what is inside.
const phone = matchMedia("(max-width: 40rem)");
const FOLD = "details.fold";
/** Put the rest of a section, or a whole figure, behind the line of its `data-fold`. Wide screens and paper show it all. */
const fold = (part) => {
  const details = document.createElement("details");
  details.className = "fold";
  const line = document.createElement("summary");
  line.textContent = part.dataset.fold;
  if (part.localName === "figure") {
    part.before(details);
    details.append(line, part);
  } else {
    const heading = part.querySelector("h2");
    details.append(line, ...[...part.childNodes].slice([...part.childNodes].indexOf(heading) + 1));
    part.append(details);
  }
  delete part.dataset.fold;
  details.open = !phone.matches;
};
const foldAll = (page = document) => page.querySelectorAll("[data-fold]").forEach(fold);
/** The fold around an element, or of the section whose heading it is. */
const foldOf = (target) => target?.closest(FOLD) ?? (target?.localName === "h2" ? target.parentElement.querySelector(`:scope > ${FOLD}`) : null);
const unfold = (id) => {
  const details = id ? foldOf(byId(id)) : null;
  if (details) details.open = true;
};
let unfolded = "";
/** Open what the address points to, once: the reader may fold it again. */
const unfoldWanted = () => {
  if (view.anchor !== unfolded) unfold(unfolded = view.anchor);
};
const foldKey = (details) => details.querySelector(":scope > figure")?.id ?? details.parentElement.getAttribute("aria-labelledby");
/** A newer page comes folded as this one is. */
const foldArrival = ({ detail: page }) => {
  foldAll(page);
  const states = new Map([...document.querySelectorAll(FOLD)].map((details) => [foldKey(details), details.open]));
  for (const details of page.querySelectorAll(FOLD)) details.open = states.get(foldKey(details)) ?? !phone.matches;
};
/** What was drawn behind a line has the size of nothing. */
const fit = ({ target }) => {
  if (!phone.matches || !target.matches?.(`${FOLD}[open]`)) return;
  for (const plot of target.querySelectorAll(".js-plotly-plot")) Plotly.Plots.resize(plot);
};
/** What was open on the phone before paper, or the turned phone, showed all. */
let openBefore = new Set();
const keepOpen = () => { openBefore = new Set([...document.querySelectorAll(`${FOLD}[open]`)].map(foldKey)); };
const foldAgain = () => {
  if (!phone.matches && !onPaper()) keepOpen();
  for (const details of document.querySelectorAll(FOLD)) details.open = !phone.matches || openBefore.has(foldKey(details));
};
// Before report.js opens all for paper; the screen changes later.
addEventListener("beforeprint", () => { if (phone.matches) keepOpen(); }, true);
foldAll();
document.addEventListener("toggle", fit, true);
phone.addEventListener("change", foldAgain);
document.addEventListener("click", ({ target }) => {
  const link = target.closest?.("a[href^='#']");
  if (link) unfold(decoded(link.getAttribute("href").slice(1))); // a link of an SVG has no `hash`
}, true);
document.addEventListener("view-changed", unfoldWanted);
document.addEventListener("page-arrives", foldArrival);
