// The figures of final results: one mark or more for each cell.
const ROOMY = 40; // cells up to which a row has room for its seeds beside its mean
const roomy = () => data.cells.length <= ROOMY;
/** What fits beside a row: on a phone the levels without their factors, for all rows where one name is too long. */
const rowLines = ({ name, brief }) => {
  const text = narrow() && longNames() ? brief : name;
  const most = narrow() ? 20 : 44;
  return roomy() ? inTwoLines(text, most) : [short(text, most)];
};
const longNames = () => data.cells.some(({ name }) => name.length > 18);
/** The y axis of a figure with one row a cell, named even where it has no result yet. */
const cellRows = (rows) => ({
  ...axisStyle(), automargin: false, tickmode: "array", tickvals: [...data.cells.keys()], ticks: "", showline: false, autorange: false,
  ticktext: rows.map((lines) => lines.map(plain).join("<br>")),
  range: [data.cells.length - 0.4, -0.6], tickfont: { size: roomy() ? fontSize() - 1 : 10 },
  // Plotly would measure every label to hide those that leave the figure, and none does: the margin follows them.
  ticklabeloverflow: "allow",
});
/** Around values in 0..1, with a little room. */
const shareRange = (values, least = 0.01) => {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.15 * (high - low), least);
  return [Math.max(low - room, -0.005), Math.min(high + room, 1.005)];
};
/** Without what is far below the rest, where the reader wants to see that closer. */
const closeUp = (values) => (byId("close-up")?.checked ? values.filter((value) => value >= data.reach) : values);
/** The values with the ends of the intervals, as far as these leave the values two thirds of the room or so: an interval
 * of two seeds may be wider than all else on the page. */
const withIntervals = (values, places) => {
  const shown = closeUp(values);
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const most = Math.max(0.8 * (high - low), 0.02);
  const ends = closeUp(places.flatMap((place) => data.cells[place].interval ?? []));
  return [...shown, ...ends.map((end) => Math.min(Math.max(end, low - most), high + most))];
};
/** Cells by their colour: the whiskers of a trace have one, and a trace for each of many cells takes long. */
const byColour = (places) => grouped(places, (place) => data.cells[place].colour);
const doneCells = () => [...data.cells.keys()].filter((place) => data.cells[place].mean !== null);
const halfOf = ({ interval }) => (interval ? (interval[1] - interval[0]) / 2 : 0);
const meanText = (cell) => `${percent(cell.mean)}${cell.interval ? ` ± ${percent(halfOf(cell))}` : ""} (n = ${cell.seeds.length})`;
const whiskers = (halves, own) => ({
  type: "data", array: halves, color: own, thickness: 2, width: roomy() ? 5 : 2, visible: halves.some((half) => half > 0),
});
const rowLayout = (plot, title, values) => {
  const rows = data.cells.map(rowLines);
  return {
    ...layoutStyle(), height: plot.clientHeight, margin: { l: roomFor(plot, rows.flat()), r: 24, t: 28, b: 46 },
    uirevision: String(byId("close-up")?.checked),
    xaxis: { ...axisStyle(title), tickformat: "~%", range: shareRange(closeUp(values)) }, yaxis: cellRows(rows),
  };
};

const drawFinals = () => {
  const plot = byId("finals-plot");
  if (!plot) return;
  const done = doneCells();
  const traces = byColour(done).flatMap((places) => {
    const own = colour(data.cells[places[0]]);
    const cells = places.map((place) => data.cells[place]);
    const seeds = places.flatMap((place) => data.cells[place].seeds.map(([seed, value, lost]) => ({ place, seed, value, lost })));
    return [{
      x: seeds.map(({ value }) => value), y: seeds.map(({ place }) => place + (roomy() ? 0.18 : 0)), mode: "markers", cliponaxis: !roomy(),
      marker: {
        color: translucent(own, roomy() ? 0.6 : 0.4), size: roomy() ? 7 : 5,
        symbol: seeds.map(({ lost }) => (lost ? "x" : "circle")),
      },
      text: seeds.map(({ place, seed, lost }) => `<b>${nameOf(place)}</b><br>seed ${seed}${lost ? ", diverged" : ""}`),
      hovertemplate: "%{text}: %{x:.2%}<extra></extra>",
    }, {
      x: cells.map(({ mean }) => mean), y: places.map((place) => place - (roomy() ? 0.12 : 0)), mode: "markers", cliponaxis: !roomy(),
      marker: { color: own, size: roomy() ? 10 : 7 }, error_x: whiskers(cells.map(halfOf), own),
      text: places.map((place) => `<b>${nameOf(place)}</b><br>${meanText(data.cells[place])}`),
      hovertemplate: "%{text}<extra></extra>",
    }];
  });
  const values = done.flatMap((place) => data.cells[place].seeds.map(([, value]) => value));
  Plotly.react(plot, traces, rowLayout(plot, "Validation accuracy", withIntervals(values, done)), config("finals"));
};

/** Numbers of the front's cells, as the text below the figure has them; left out where one would cover the next. */
const numbered = (front, at, ends) => {
  const numbers = new Map();
  const apart = (key, one, other, least) => Math.abs(one - other) / (ends[key][1] - ends[key][0]) > least;
  const free = (place) => [...numbers.keys()].every((other) => (
    apart("x", at(place)[0], at(other)[0], 0.03) || apart("y", at(place)[1], at(other)[1], 0.06)));
  front.forEach((place, nth) => { if (free(place)) numbers.set(place, String(nth + 1)); });
  return numbers;
};

const costTraces = (done, cost, x, numbers, unit) => {
  const front = new Set(cost.front);
  return byColour(done).map((places) => {
    const own = colour(data.cells[places[0]]);
    const cells = places.map((place) => data.cells[place]);
    return {
      x: places.map(x), y: cells.map(({ mean }) => mean), mode: "markers+text", textposition: "top left", cliponaxis: !roomy(),
      text: places.map((place) => numbers.get(place) ?? ""), textfont: { size: 12, color: css("--ink") },
      marker: {
        color: own, size: places.map((place) => (front.has(place) ? 11 : 9)), line: { width: 2, color: own },
        symbol: cells.map((cell, nth) => `${SYMBOLS[cell.dash]}${front.has(places[nth]) ? "" : "-open"}`),
      },
      error_y: { ...whiskers(cells.map(halfOf), translucent(own, 0.5)), width: 0 },
      hovertext: places.map((place) => (
        `<b>${nameOf(place)}</b><br>${meanText(data.cells[place])}${front.has(place) ? "<br>on the Pareto front" : ""}`)),
      hovertemplate: `%{hovertext}<br>%{x:,.4~g} ${unit}<extra></extra>`,
    };
  });
};

const drawCosts = () => {
  const plot = byId("costs-plot");
  if (!plot) return;
  const cost = data.costs[Number(document.querySelector("input[name=cost]:checked").value)];
  const log = byId("log-cost").checked;
  const done = doneCells().filter((place) => cost.values[place] !== null);
  const [unit, one] = unitOf(cost.name, Math.max(...done.map((place) => cost.values[place])));
  const x = (place) => cost.values[place] / one;
  const at = (place) => [log ? Math.log10(x(place)) : x(place), data.cells[place].mean];
  const across = done.map((place) => at(place)[0]);
  const [first, last] = [Math.min(...across), Math.max(...across)];
  const span = last - first || 1;
  const ends = {
    x: [log ? first - 0.08 * span : Math.max(first - 0.08 * span, -0.04 * last), last + 0.06 * span],
    y: shareRange(withIntervals(done.map((place) => data.cells[place].mean), done)),
  };
  const front = {
    x: cost.front.map(x), y: cost.front.map((place) => data.cells[place].mean), mode: "lines", hoverinfo: "skip",
    line: { color: css("--soft"), width: 1.5, shape: "hv", dash: "dot" },
  };
  byId("costs-front").textContent = cost.told;
  const traces = [front, ...costTraces(done, cost, x, numbered(cost.front, at, ends), unit)];
  const layout = {
    ...layoutStyle(), margin: { l: 62, r: 24, t: 28, b: 48 }, uirevision: [cost.name, unit, log, byId("close-up")?.checked].join(),
    xaxis: { ...axisStyle(titled(cost.label, unit)), ...scaleStyle(log, ends.x), range: ends.x },
    yaxis: { ...axisStyle("Validation accuracy"), tickformat: "~%", range: ends.y },
  };
  Plotly.react(plot, traces, layout, config("costs"));
  retick(plot);
};

const drawGaps = () => {
  const plot = byId("gaps-plot");
  if (!plot) return;
  const places = [...data.cells.keys()].filter((place) => data.gaps[place]);
  const size = roomy() ? 10 : 7;
  const traces = byColour(places).flatMap((group) => {
    const own = colour(data.cells[group[0]]);
    const pairs = group.map((place) => data.gaps[place]);
    const text = group.map((place) => {
      const [train, val] = data.gaps[place];
      const gap = `gap ${(100 * (train - val)).toFixed(2)} points`;
      return `<b>${nameOf(place)}</b><br>training ${percent(train)}, validation ${percent(val)}<br>${gap}`;
    });
    const marks = { mode: "markers", cliponaxis: !roomy(), y: group, text, hovertemplate: "%{text}<extra></extra>" };
    return [
      {
        x: pairs.flatMap(([train, val]) => [train, val, null]), y: group.flatMap((place) => [place, place, null]),
        mode: "lines", hoverinfo: "skip", line: { color: translucent(own, 0.6), width: 2.5 },
      },
      { ...marks, x: pairs.map(([train]) => train), marker: { color: css("--paper"), size, line: { color: own, width: 2 } } },
      { ...marks, x: pairs.map(([, val]) => val), marker: { color: own, size } },
    ];
  });
  const values = places.flatMap((place) => data.gaps[place]);
  Plotly.react(plot, traces, rowLayout(plot, "Accuracy at the end", values), config("gaps"));
};
