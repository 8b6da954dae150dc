// The main figure and the resources: a line with its band for each cell.
const opened = new WeakMap();
const curveOf = (metric, cell) => {
  const packed = metric.curves[cell];
  if (packed === null) return null;
  if (!opened.has(packed)) {
    const entries = Object.entries(packed).map(([key, field]) => [key, unpack(field)]);
    opened.set(packed, Object.fromEntries(entries));
  }
  return opened.get(packed);
};

/** Convert steps to the x axis of a cell; null if the cell did not record it. */
const along = (axis, cell, steps) => (axis === "steps" ? Array.from(steps) : byClock(data.clocks[cell]?.[axis], steps));
const byClock = (clock, steps) => {
  if (!clock) return null;
  const knots = unpack(clock.steps);
  const at = unpack(clock.at);
  let index = 0;
  return Array.from(steps, (step) => {
    if (knots.length < 2) return at[0];
    while (index < knots.length - 2 && knots[index + 1] < step) index += 1;
    const part = (step - knots[index]) / (knots[index + 1] - knots[index]);
    return at[index] + part * (at[index + 1] - at[index]);
  });
};

/** A straight line fitted around each point, its neighbours weighted by a Gaussian and by how much of the axis they
 * stand for: unlike a mean it does not bend the ends. https://en.wikipedia.org/wiki/Local_regression */
const smoothed = (x, y, width) => {
  if (!width || y === null || x.length < 3) return y;
  const last = x.length - 1;
  const share = x.map((_, i) => (x[Math.min(i + 1, last)] - x[Math.max(i - 1, 0)]) / 2);
  return Array.from(y, (value, i) => {
    if (!Number.isFinite(value)) return value;
    let [weights, first, second, sum, moment] = [0, 0, 0, 0, 0];
    for (let k = 0; k <= last; k += 1) {
      const distance = (x[k] - x[i]) / width;
      if (Math.abs(distance) > 4 || !Number.isFinite(y[k])) continue;
      const weight = share[k] * Math.exp(-0.5 * distance * distance);
      weights += weight;
      first += weight * distance;
      second += weight * distance * distance;
      sum += weight * y[k];
      moment += weight * distance * y[k];
    }
    const spread = weights * second - first * first;
    return spread > 1e-9 * weights * weights ? (second * sum - first * moment) / spread : value;
  });
};

/** A fitted line may leave the range of a share where it bends. */
const within = (values, share) => (values && share ? values.map((value) => Math.min(Math.max(value, 0), 1)) : values);
/** The lines of a metric along an axis, one for each shown cell that has both. */
const linesOf = (metric, axis, smoothing = 0) => {
  const lines = [];
  data.cells.forEach((cell, index) => {
    const curve = isShown(index) ? curveOf(metric, index) : null;
    const x = curve && along(axis, index, curve.steps);
    if (x) lines.push({ ...curve, cell, index, x });
  });
  const most = lines.reduce((max, line) => Math.max(max, line.x.at(-1) ?? 0), 0);
  const [unit, one] = unitOf(axis, most);
  const reported = OF_THE_MACHINE.has(axis) ? [] : reportedLines(metric, axis);
  for (const line of [...lines, ...reported]) {
    for (const key of ["mean", "low", "high"]) line[key] = within(smoothed(line.x, line[key], smoothing * most), metric.share && smoothing);
    line.x = line.x.map((value) => value / one);
  }
  return { lines, unit, reported };
};

/** Axes that say nothing of a run on another machine. */
const OF_THE_MACHINE = new Set(["elapsed_s", "energy_j"]);
/** The runs that others reported for the shown cells, at the steps of their cell. */
const reportedLines = (metric, axis) => data.reported.flatMap(({ cell, name, curves }) => {
  const packed = isShown(cell) ? curves[data.metrics.indexOf(metric)] : null;
  const x = packed && along(axis, cell, unpack(packed.steps));
  return x ? [{ name, cell: data.cells[cell], index: cell, x, mean: unpack(packed.mean), low: null, high: null }] : [];
});
const reportedTrace = ({ name, cell, x, mean }, metric, unit) => ({
  x, y: mean, text: Array.from(mean, (value) => shown(value, metric.share)), name: plain(short(name, 80)),
  mode: x.length > 1 ? "lines" : "markers", line: { color: css("--strong-line"), width: 1 },
  marker: { color: css("--strong-line"), size: 5 }, meta: plain(short(cell.name, 80)),
  hovertemplate: `<b>%{fullData.name}</b>, reported for %{meta}<br>%{text}<br>at %{x:,.5~g} ${unit}<extra></extra>`,
});

/** The band as closed shapes, one for each stretch with an interval. */
const outline = (line, log) => {
  const x = [];
  const y = [];
  const least = line.mean.reduce((found, value) => (value > 0 && value < found ? value : found), Infinity);
  const floor = log ? least / 10 : -Infinity;
  let start = -1;
  for (let i = 0; i <= line.x.length; i += 1) {
    const sure = i < line.x.length && Number.isFinite(line.low[i]);
    if (sure && start < 0) start = i;
    if (sure || start < 0) continue;
    for (let k = start; k < i; k += 1) { x.push(line.x[k]); y.push(Math.max(line.high[k], floor)); }
    for (let k = i - 1; k >= start; k -= 1) { x.push(line.x[k]); y.push(Math.max(line.low[k], floor)); }
    x.push(null);
    y.push(null);
    start = -1;
  }
  return { x, y };
};

/** A range around the means. Bands widen it by at most the span of the means: two seeds would flatten the curves. */
const yRange = (lines, share, log, banded) => {
  let [low, high, least, most] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const line of lines) {
    for (let i = 0; i < line.mean.length; i += 1) {
      if (!Number.isFinite(line.mean[i]) || (log && line.mean[i] <= 0)) continue;
      low = Math.min(low, line.mean[i]);
      high = Math.max(high, line.mean[i]);
      if (banded && line.low && Number.isFinite(line.low[i])) {
        least = Math.min(least, line.low[i]);
        most = Math.max(most, line.high[i]);
      }
    }
  }
  if (!Number.isFinite(low)) return null;
  const span = high - low || Math.abs(high) || 1;
  let ends = [Math.max(Math.min(low, least), low - span / 2), Math.min(Math.max(high, most), high + span / 2)];
  if (share) ends = [Math.max(ends[0], 0), Math.min(ends[1], 1)];
  if (log) return [Math.log10(Math.max(ends[0], low / 2)) - 0.05, Math.log10(ends[1]) + 0.05];
  const room = 0.04 * (ends[1] - ends[0] || span);
  return [ends[0] - room, ends[1] + room];
};
/** The range from the first point to the last, or from zero on a linear axis. */
const xRange = (lines, log) => {
  if (!log) return null;
  const positive = lines.flatMap(({ x }) => [x.find((value) => value > 0), x.at(-1)]).filter((value) => value > 0);
  return positive.length ? [Math.log10(Math.min(...positive)) - 0.03, Math.log10(Math.max(...positive)) + 0.03] : null;
};

const bandStyle = (own) => ({
  mode: "lines", fill: "toself", line: { width: 0 }, hoverinfo: "skip", fillcolor: translucent(own, 0.16),
});
/** A trace for each band, or for each colour if there are many cells, which is much faster. */
const bandTraces = (lines, log) => {
  const banded = lines.filter((line) => line.low);
  const groups = lines.length <= 4 * MANY ? banded.map((line) => [line]) : grouped(banded, ({ cell }) => lookOf(cell).colour);
  return groups.map((group) => {
    const shapes = group.map((line) => outline(line, log));
    const joined = { x: shapes.flatMap(({ x }) => x), y: shapes.flatMap(({ y }) => y) };
    return { ...joined, ...bandStyle(colour(group[0].cell)) };
  });
};

/** ` (1.20 % to 1.40 %)`; nothing without a range. */
const rangeText = (range, share) => (range ? ` (${shown(range[0], share)} to ${shown(range[1], share)})` : "");
/** ` ± 1.20 %`, or both ends: of two seeds, which have a range, and where one is the end of a share. */
const spreadText = (mean, low, high, share, seeds) => {
  const even = Math.abs(high + low - 2 * mean) <= 1e-6 * Math.max(high - low, Math.abs(mean));
  return even && seeds > 2 ? ` ± ${shown((high - low) / 2, share)}` : rangeText([low, high], share);
};

const lineTrace = (line, metric, unit, width = 2) => {
  const { cell, index } = line;
  const text = Array.from(line.mean, (mean, i) => {
    const seeds = typeof line.n === "number" ? line.n : line.n[i];
    const sure = line.low && Number.isFinite(line.low[i]);
    const spread = sure ? spreadText(mean, line.low[i], line.high[i], metric.share, seeds) : "";
    return `${shown(mean, metric.share)}${spread} (n = ${seeds})`;
  });
  return {
    x: line.x, y: line.mean, text, name: plain(short(cell.name, 80)), mode: line.x.length > 1 ? "lines" : "markers", uid: lineId(index),
    line: { color: colour(cell), width, dash: dashOf(cell) }, marker: { color: colour(cell), size: 8, symbol: symbolOf(cell) },
    hovertemplate: `<b>%{fullData.name}</b><br>%{text}<br>at %{x:,.5~g} ${unit}<extra></extra>`,
  };
};

const axisLabel = (axis) => (axis === "steps" ? "Steps" : data.axes.find(({ name }) => name === axis).label);

/** The more curves, the thinner. */
const widthFor = (count) => (count < FEW ? 2 : count <= MANY ? 1.75 : count <= 2 * MANY ? 1.4 : 1.1);
/** Bands of many curves hide each other, so that from seven on they are drawn if the reader asks for them. */
const withBands = (panels) => view.bands ?? panels.every(({ lines }) => lines.length < FEW);
const panelTraces = ({ lines, reported, axes }, { metric, unit, log, banded }) => [
  ...reported.map((line) => reportedTrace(line, metric, unit)),
  ...(banded ? bandTraces(lines, log) : []),
  ...lines.map((line) => lineTrace(line, metric, unit, widthFor(lines.length))),
].map((trace) => ({ ...trace, ...axes }));

const drawCurves = () => {
  const plot = byId("curves-plot");
  if (!plot) return;
  const axis = document.querySelector("input[name=x]:checked").value;
  const metric = data.metrics[Number(byId("y-axis").value)];
  const [logX, log] = [byId("log-x").checked, byId("log-scale").checked];
  const { lines, unit, reported } = linesOf(metric, axis, Number(byId("smoothing").value));
  const label = axisLabel(axis);
  const panels = placed(plot, panelsOf(lines.map(({ index }) => index)).map(({ title, cells }) => ({
    title, lines: lines.filter(({ index }) => cells.includes(index)), reported: reported.filter(({ index }) => cells.includes(index)),
  })));
  const banded = withBands(panels);
  if (byId("bands")) byId("bands").checked = banded;
  const traces = panels.flatMap((panel) => panelTraces(panel, { metric, unit: unit || label.toLowerCase(), log, banded }));
  const [across, range] = [xRange([...lines, ...reported], logX), yRange([...lines, ...reported], metric.share, log, banded)];
  const layout = {
    ...layoutStyle(), height: plot.clientHeight, margin: MARGIN,
    // New data keep the reader's zoom, another axis resets it.
    uirevision: [axis, unit, logX, metric.name, log, view.panels].join(),
    ...panelLayout(plot, panels, {
      ...axisStyle(titled(label, unit)), ...scaleStyle(logX, across),
      ...(across ? { range: across } : { rangemode: "tozero" }),
    }, {
      ...axisStyle(plain(titled(metric.label, metric.unit))), ...scaleStyle(log, range, metric.share),
      tickformat: metric.share ? "~%" : "", ...(range ? { range } : {}),
    }),
  };
  Plotly.react(plot, traces, layout, config("curves"));
  retick(plot);
  followPointer(plot);
};

const drawResources = () => {
  const axis = data.axes.some(({ name }) => name === "elapsed_s") ? "elapsed_s" : "steps";
  for (const plot of document.querySelectorAll(".panel .plot")) {
    const metric = data.metrics[Number(plot.dataset.metric)];
    const { lines, unit } = linesOf(metric, axis);
    const margin = { l: 50, r: 14, t: 8, b: 42 };
    // Such a plot has half of the page: its panels stand below each other.
    const panels = placed(plot, panelsOf(lines.map(({ index }) => index)), 130, 1);
    const layout = {
      ...layoutStyle(), height: plot.clientHeight, margin, ...(onPaper() ? { width: PAPER / 2 - 12 } : {}), uirevision: view.panels,
      ...panelLayout(plot, panels, { ...axisStyle(titled(axisLabel(axis), unit)), rangemode: "tozero", nticks: 6 }, {
        ...axisStyle(), rangemode: "tozero", nticks: 5, tickformat: ",~r",
      }, margin),
    };
    const traces = panels.flatMap(({ cells, axes }) => lines.filter(({ index }) => cells.includes(index)).map((line) => (
      { ...lineTrace(line, metric, unit), ...axes })));
    Plotly.react(plot, traces, layout, { ...config("resources"), displayModeBar: false });
  }
};
