// The figures of final results.
const ROOMY = 40; // most cells whose rows have room for seeds beside the mean
const ROOMY_PAGE = 22; // the same on paper, where a figure is no higher than a page
/** Cells that the chips leave. */
const kept = () => [...data.cells.keys()].filter((index) => !isHidden(index));
const roomy = () => kept().length <= (onPaper() ? ROOMY_PAGE : ROOMY);
/** The label of a row: on a phone the levels without their factors, if any name is too long. */
const rowLines = ({ name, brief }) => {
  const text = narrow() && longNames() ? brief : name;
  const most = narrow() ? 20 : 44;
  return roomy() ? inTwoLines(text, most) : [short(text, most)];
};
const longNames = () => data.cells.some(({ name }) => name.length > 18);
const ROW = { frame: 74, roomy: 34, narrow: 18 }; // pixels, as study_page.py reserves them
/** The rows of a figure with one for each cell, under a title for each panel: { index, title }, one of them. */
const rowsOf = () => panelsOf(kept()).flatMap(({ title, cells }) => [...(title ? [{ title }] : []), ...cells.map((index) => ({ index }))]);
const rowText = ({ index, title }) => (title ? [title] : rowLines(data.cells[index]).map(plain));
/** The row of each cell, and the figure made as high as its rows need. */
const rowPlaces = (plot, rows) => {
  const high = ROW.frame + Math.max(rows.length, 1) * (roomy() ? ROW.roomy : ROW.narrow);
  plot.style.height = `${onPaper() ? Math.min(high, PAGE) : high}px`;
  return new Map(rows.map(({ index }, place) => [index, place]));
};
/** Of very many rows on a page of paper, labels that would cover the next ones are left out. */
const labelled = (nth, rows) => !onPaper() || nth % Math.ceil((10 * rows.length) / (PAGE - ROW.frame)) === 0;
/** The y axis of a figure of rows, labelled also without a result. */
const rowAxis = (rows) => ({
  ...axisStyle(), automargin: false, tickmode: "array", tickvals: [...rows.keys()], ticks: "", showline: false, autorange: false,
  ticktext: rows.map((row, nth) => (labelled(nth, rows) ? rowText(row).join("<br>") : "")),
  range: [rows.length - 0.4, -0.6], tickfont: { size: roomy() ? fontSize() - 1 : 10 },
  // The margin fits all labels, so plotly need not measure each of them.
  ticklabeloverflow: "allow",
});
/** A range around values in 0..1, with a little room. */
const shareRange = (values, least = 0.01) => {
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.15 * (high - low), least);
  return [Math.max(low - room, -0.005), Math.min(high + room, 1.005)];
};
/** The same around values of the study's metric. */
const valueRange = (values) => {
  if (data.share || !values.length) return shareRange(values);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = 0.15 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - room, high + room];
};
const valueFormat = () => (data.share ? "~%" : "");
/** Leave out values far below the rest, if the reader asked for that. */
const closeUp = (values) => (byId("close-up")?.checked ? values.filter((value) => value >= data.reach) : values);
/** The values with the ends of the intervals, as far as these leave the values two thirds of the room or so: an interval
 * of two seeds may be wider than all else on the page. */
const withIntervals = (values, indices) => {
  const shown = closeUp(values);
  if (!shown.length) return shown;
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const most = Math.max(0.8 * (high - low), data.share ? 0.02 : 0);
  const ends = closeUp(indices.flatMap((index) => data.cells[index].interval ?? []));
  return [...shown, ...ends.map((end) => Math.min(Math.max(end, low - most), high + most))];
};
/** Cells by colour: one trace for each colour is faster than one for each cell. */
const byColour = (indices) => grouped(indices, (index) => lookOf(data.cells[index]).colour);
const doneCells = () => kept().filter((index) => data.cells[index].mean !== null);
const halfOf = ({ interval }) => (interval ? (interval[1] - interval[0]) / 2 : 0);
const meanText = (cell) => `${shown(cell.mean, data.share)}${cell.interval ? ` ± ${shown(halfOf(cell), data.share)}` : rangeText(cell.range, data.share)} (n = ${cell.seeds.length})`;
const whiskers = (halves, own) => ({
  type: "data", array: halves, color: own, thickness: 2, width: roomy() ? 5 : 2, visible: halves.some((half) => half > 0),
});
const rowLayout = (plot, title, values, rows) => {
  const texts = rows.flatMap((row) => (row.title ? [] : rowLines(data.cells[row.index])));
  return {
    ...layoutStyle(), height: plot.clientHeight, margin: { l: roomFor(plot, texts), r: 24, t: 28, b: 46 },
    uirevision: [byId("close-up")?.checked, rows.length].join(),
    xaxis: { ...axisStyle(title), tickformat: valueFormat(), range: valueRange(closeUp(values)) }, yaxis: rowAxis(rows),
  };
};

const drawFinals = () => {
  const plot = byId("finals-plot");
  if (!plot) return;
  const done = doneCells();
  const rows = rowsOf();
  const places = rowPlaces(plot, rows);
  const traces = byColour(done).flatMap((indices) => {
    const own = colour(data.cells[indices[0]]);
    const cells = indices.map((index) => data.cells[index]);
    const seeds = indices.flatMap((index) => data.cells[index].seeds.map(([seed, value, lost]) => ({ index, seed, value, lost })));
    return [{
      x: seeds.map(({ value }) => value), y: seeds.map(({ index }) => places.get(index) + (roomy() ? 0.18 : 0)), mode: "markers", cliponaxis: !roomy(),
      marker: {
        color: translucent(own, roomy() ? 0.6 : 0.4), size: roomy() ? 7 : 5,
        symbol: seeds.map(({ lost }) => (lost ? "x" : "circle")),
      },
      text: seeds.map(({ index, seed, lost }) => `<b>${nameOf(index)}</b><br>seed ${seed}${lost ? ", fell out" : ""}`),
      hovertemplate: `%{text}: %{x:${data.share ? ".2%" : ".4~g"}}<extra></extra>`,
    }, {
      x: cells.map(({ mean }) => mean), y: indices.map((index) => places.get(index) - (roomy() ? 0.12 : 0)), mode: "markers", cliponaxis: !roomy(),
      marker: { color: own, size: roomy() ? 10 : 7, symbol: cells.map(symbolOf) }, error_x: whiskers(cells.map(halfOf), own),
      text: indices.map((index) => `<b>${nameOf(index)}</b><br>${meanText(data.cells[index])}`),
      hovertemplate: "%{text}<extra></extra>",
    }];
  });
  const values = done.flatMap((index) => data.cells[index].seeds.map(([, value]) => value));
  Plotly.react(plot, traces, rowLayout(plot, plain(data.accuracy), withIntervals(values, done), rows), config("finals"));
};

/** Numbers of the front's cells, as in the text below the figure; a number that would cover the next is left out. */
const numbered = (front, at, ends) => {
  const numbers = new Map();
  const apart = (key, one, other, least) => Math.abs(one - other) / (ends[key][1] - ends[key][0]) > least;
  const free = (index) => [...numbers.keys()].every((other) => (
    apart("x", at(index)[0], at(other)[0], 0.03) || apart("y", at(index)[1], at(other)[1], 0.06)));
  front.forEach((index, nth) => { if (!isHidden(index) && free(index)) numbers.set(index, String(nth + 1)); });
  return numbers;
};

const costTraces = (done, cost, x, numbers, unit) => {
  const front = new Set(cost.front);
  return byColour(done).map((indices) => {
    const own = colour(data.cells[indices[0]]);
    const cells = indices.map((index) => data.cells[index]);
    return {
      x: indices.map(x), y: cells.map(({ mean }) => mean), mode: "markers+text", textposition: "top left", cliponaxis: !roomy(),
      text: indices.map((index) => numbers.get(index) ?? ""), textfont: { size: 12, color: css("--ink") },
      marker: {
        color: own, size: indices.map((index) => (front.has(index) ? 11 : 9)), line: { width: 2, color: own },
        symbol: cells.map((cell, nth) => `${symbolOf(cell)}${front.has(indices[nth]) ? "" : "-open"}`),
      },
      error_y: { ...whiskers(cells.map(halfOf), translucent(own, 0.5)), width: 0 },
      hovertext: indices.map((index) => (
        `<b>${nameOf(index)}</b><br>${meanText(data.cells[index])}${front.has(index) ? "<br>on the Pareto front" : ""}`)),
      hovertemplate: `%{hovertext}<br>%{x:,.4~g} ${unit}<extra></extra>`,
    };
  });
};

const drawCosts = () => {
  const plot = byId("costs-plot");
  if (!plot) return;
  const cost = data.costs[Number(document.querySelector("input[name=cost]:checked").value)];
  const log = byId("log-cost").checked;
  const done = doneCells().filter((index) => cost.values[index] !== null);
  const [unit, one] = unitOf(cost.name, Math.max(...done.map((index) => cost.values[index])));
  const x = (index) => cost.values[index] / one;
  const at = (index) => [log ? Math.log10(x(index)) : x(index), data.cells[index].mean];
  const across = done.map((index) => at(index)[0]);
  const [first, last] = across.length ? [Math.min(...across), Math.max(...across)] : [0, 1];
  const span = last - first || 1;
  const ends = {
    x: [log ? first - 0.08 * span : Math.max(first - 0.08 * span, -0.04 * last), last + 0.06 * span],
    y: valueRange(withIntervals(done.map((index) => data.cells[index].mean), done)),
  };
  const front = {
    x: cost.front.map(x), y: cost.front.map((index) => data.cells[index].mean), mode: "lines", hoverinfo: "skip",
    line: { color: css("--soft"), width: 1.5, shape: "hv", dash: "dot" },
  };
  byId("costs-front").textContent = `${cost.told}${view.hidden.size ? " It is the front of all cells, also of those that are hidden." : ""}${view.panels === null ? "" : " Every panel has the line of all cells."}`;
  const panels = placed(plot, panelsOf(done));
  const numbers = numbered(cost.front, at, ends);
  const traces = panels.flatMap(({ cells, axes }) => [front, ...costTraces(cells, cost, x, numbers, unit)].map((trace) => ({ ...trace, ...axes })));
  const layout = {
    ...layoutStyle(), height: plot.clientHeight, margin: MARGIN, uirevision: [cost.name, unit, log, byId("close-up")?.checked, view.panels].join(),
    ...panelLayout(plot, panels, { ...axisStyle(titled(cost.label, unit)), ...scaleStyle(log, ends.x), range: ends.x }, {
      ...axisStyle(plain(data.accuracy)), tickformat: valueFormat(), range: ends.y,
    }),
  };
  Plotly.react(plot, traces, layout, config("costs"));
  retick(plot);
};

const drawGaps = () => {
  const plot = byId("gaps-plot");
  if (!plot) return;
  const indices = kept().filter((index) => data.gaps[index]);
  const rows = rowsOf();
  const places = rowPlaces(plot, rows);
  const size = roomy() ? 10 : 7;
  const traces = byColour(indices).flatMap((group) => {
    const own = colour(data.cells[group[0]]);
    const pairs = group.map((index) => data.gaps[index]);
    const symbol = group.map((index) => symbolOf(data.cells[index]));
    const text = group.map((index) => {
      const [train, val] = data.gaps[index];
      const gap = `gap ${(100 * (train - val)).toFixed(2)} points`;
      return `<b>${nameOf(index)}</b><br>training ${percent(train)}, ${data.accuracy.toLowerCase().replace(" accuracy", "")} ${percent(val)}<br>${gap}`;
    });
    const marks = { mode: "markers", cliponaxis: !roomy(), y: group.map((index) => places.get(index)), text, hovertemplate: "%{text}<extra></extra>" };
    return [
      {
        x: pairs.flatMap(([train, val]) => [train, val, null]), y: group.flatMap((index) => [places.get(index), places.get(index), null]),
        mode: "lines", hoverinfo: "skip", line: { color: translucent(own, 0.6), width: 2.5 },
      },
      { ...marks, x: pairs.map(([train]) => train), marker: { color: css("--paper"), size, symbol, line: { color: own, width: 2 } } },
      { ...marks, x: pairs.map(([, val]) => val), marker: { color: own, size, symbol } },
    ];
  });
  const values = indices.flatMap((index) => data.gaps[index]);
  Plotly.react(plot, traces, rowLayout(plot, "Accuracy at the end", values, rows), config("gaps"));
};
