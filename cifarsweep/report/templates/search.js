// The section on a search: tells of the point under the pointer or the focus and marks it in all plots, moves the focus
// between points by arrow keys, and shows two parameters of the reader's choice against each other.
const searchSection = () => document.querySelector(".of-search");
const pointTold = document.createElement("p");
pointTold.className = "point-told";
pointTold.hidden = true;

const sameMarks = (number) => searchSection().querySelectorAll(`[data-point="${number}"]`);
const leavePoint = () => {
  for (const mark of document.querySelectorAll(".of-search .point.on")) mark.classList.remove("on");
  pointTold.hidden = true;
};
/** Say what a point is beside its mark, within the window. */
const tellPoint = (mark, x, y) => {
  leavePoint();
  const number = Number(mark.dataset.point);
  for (const same of sameMarks(number)) same.classList.add("on");
  pointTold.textContent = data.search.points.find((point) => point.number === number)?.told ?? "";
  pointTold.hidden = !pointTold.textContent;
  const { width, height } = pointTold.getBoundingClientRect();
  pointTold.style.left = `${Math.max(Math.min(x + 12, innerWidth - width - 8), 8)}px`;
  pointTold.style.top = `${y + 16 + height > innerHeight ? y - height - 12 : y + 16}px`;
};
/** Tell of the point that has the focus, where it is now; of none if none has. */
const tellFocused = () => {
  const mark = document.activeElement?.closest(".of-search .point");
  if (!mark) return leavePoint();
  const { left, bottom } = (mark.querySelector("circle, svg path") ?? mark).getBoundingClientRect();
  return tellPoint(mark, left, bottom - 8);
};
/** The browser's own notes on the marks would cover ours. */
const dropTitles = () => { for (const title of searchSection().querySelectorAll(".points title")) title.remove(); };

/** The place of a point along an axis, from 0 to 1; null where it has none. */
const shareAlong = ({ ends, choices }, value, log) => {
  if (value === null) return null;
  if (choices) return (value + 0.5) / choices;
  const [low, high, at] = log ? [...ends, value].map(Math.log) : [...ends, value];
  return high > low ? (at - low) / (high - low) : 0.5;
};
/** Ticks as [place, text]: those of the page on the scale of the search, else with another value in the middle. */
const axisTicks = (axis, log) => {
  const ticks = axis.ticks.map(({ at, text }) => [at / 100, text]);
  if (axis.choices || log === axis.log) return ticks;
  const [low, high] = axis.ends;
  const middle = Number((log ? Math.sqrt(low * high) : (low + high) / 2).toPrecision(2));
  return [ticks[0], [shareAlong(axis, middle, log), String(middle)], ticks.at(-1)];
};
const tickSpans = (axis, log, side) => axisTicks(axis, log).map(([share, text]) => {
  const span = document.createElement("span");
  const words = document.createElement("bdi");
  words.textContent = text;
  span.append(words);
  span.style[side] = `${100 * (side === "top" ? 1 - share : share)}%`;
  if (axis.choices && side === "left") span.style.maxWidth = `${100 / axis.choices}%`;
  return span;
});
const pairAxis = (id) => {
  const axis = data.search.axes[Number(byId(id).value)];
  return { axis, box: byId(`${id}-log`), log: byId(`${id}-log`).checked && canBeLog(axis) };
};
const canBeLog = ({ ends }) => ends !== null && ends[0] > 0;
/** Move the marks to the places that the chosen parameters give them. */
const drawPair = () => {
  if (!byId("pair-plane") || !data.search) return;
  const [across, upwards] = ["pair-x", "pair-y"].map(pairAxis);
  for (const { axis, box } of [across, upwards]) box.disabled = !canBeLog(axis);
  const [left, below] = [".left", ".below"].map((name) => byId("pair-plane").querySelector(name));
  left.replaceChildren(...tickSpans(upwards.axis, upwards.log, "top"));
  below.replaceChildren(...tickSpans(across.axis, across.log, "left"));
  below.classList.toggle("choices", across.axis.choices !== null);
  byId("pair-x-name").textContent = across.axis.label;
  byId("pair-y-name").textContent = upwards.axis.label;
  const places = new Map(data.search.points.map((point) => [point.number, [across, upwards].map(({ axis, log }) => (
    shareAlong(axis, point.at[data.search.axes.indexOf(axis)], log)))]));
  for (const mark of byId("pair-plane").querySelectorAll(".point")) {
    const [x, y] = places.get(Number(mark.dataset.point)) ?? [null, null];
    mark.style.display = x === null || y === null ? "none" : "";
    if (x === null || y === null) continue;
    const [shape, names] = mark.querySelector("circle") ? [mark.querySelector("circle"), ["cx", "cy"]] : [mark.querySelector("svg"), ["x", "y"]];
    shape.setAttribute(names[0], `${100 * x}%`);
    shape.setAttribute(names[1], `${100 * (1 - y)}%`);
  }
};
/** A parameter that is chosen anew has the scale on which it was searched. */
const onPairChange = ({ target }) => {
  if (!["pair-x", "pair-y", "pair-x-log", "pair-y-log"].includes(target.id)) return;
  if (target.tagName === "SELECT") byId(`${target.id}-log`).checked = data.search.axes[Number(target.value)].log;
  viewChanged();
};
/** Arrow keys move the focus within a plot, Enter follows the link. */
const onPointKey = (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const mark = event.target.closest?.(".of-search a.point");
  if (!step || !mark) return;
  const marks = [...mark.closest(".points").querySelectorAll("a.point")].filter((one) => one.style.display !== "none");
  const next = marks[(marks.indexOf(mark) + step + marks.length) % marks.length];
  for (const one of marks) one.setAttribute("tabindex", one === next ? "0" : "-1");
  next.focus();
  event.preventDefault();
};
const rememberAxis = (id, key) => {
  remember(key, () => {
    const select = byId(id);
    if (!select || !data.search) return null;
    const { axis, log } = pairAxis(id);
    const asWritten = select.options[select.selectedIndex].defaultSelected && log === axis.log;
    return asWritten ? null : axis.key + (log === axis.log ? "" : log ? ":log" : ":linear");
  }, (text) => {
    const select = byId(id);
    if (!select || !data.search) return;
    const [, name, scale] = /^(.*?)(:log|:linear)?$/s.exec(text ?? "");
    const known = data.search.axes.findIndex(({ key: axis }) => axis === name);
    select.value = known < 0 ? [...select.options].find(({ defaultSelected }) => defaultSelected).value : known;
    byId(`${id}-log`).checked = known >= 0 && scale ? scale === ":log" : data.search.axes[Number(select.value)].log;
  });
};
const listenToSearch = () => {
  document.body.append(pointTold);
  dropTitles();
  rememberAxis("pair-x", "pair-x");
  rememberAxis("pair-y", "pair-y");
  document.addEventListener("change", onPairChange);
  document.addEventListener("keydown", onPointKey);
  document.addEventListener("pointerover", ({ target, clientX, clientY }) => {
    const mark = target.closest?.(".of-search .point");
    if (mark) tellPoint(mark, clientX, clientY);
    else leavePoint();
  });
  document.addEventListener("focusin", tellFocused);
  addEventListener("scroll", tellFocused, { passive: true });
  document.addEventListener("view-changed", () => {
    dropTitles();
    drawPair();
  });
};
if (searchSection()) listenToSearch();
