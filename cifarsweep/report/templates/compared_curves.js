// The curves of two cells, or of two trials, alone.
const SIDES = ["A", "B"];
const ownOf = (side) => css(`--c${side}`);

/** The metrics that both kinds of comparison may draw, by what is compared. */
const metricsOf = (kind) => (kind === "cell" ? data.metrics : data.trials.metrics);
const cellLine = (metric, index, axis) => {
  const curve = curveOf(metric, index);
  const x = curve && along(axis, index, curve.steps);
  return x ? { ...curve, x } : null;
};
/** Trials of a cell have their epochs, images and operations in common, but each its own time and energy. */
const trialLine = (metric, number, axis) => {
  const curve = metric.curves[number];
  const steps = curve && unpack(data.trials.steps[curve.steps]);
  const x = curve && (OF_THE_MACHINE.has(axis) ? byClock(data.trials.clocks[axis]?.[number], steps)
    : along(axis, byId(`trial-${number}`)?.dataset.cell, steps));
  return x ? { x, mean: unpack(curve.values), low: null, high: null, n: 1 } : null;
};
const comparedTraces = (line, side, name, metric, unit) => {
  const own = ownOf(side);
  const text = Array.from(line.mean, (mean, i) => {
    const sure = line.low && Number.isFinite(line.low[i]);
    return `${shown(mean, metric.share)}${sure ? spreadText(mean, line.low[i], line.high[i], metric.share) : ""}`;
  });
  return [
    ...(line.low ? [{ ...outline(line, false), ...bandStyle(own) }] : []),
    {
      x: line.x, y: line.mean, text, name: plain(short(name, 80)), mode: line.x.length > 1 ? "lines" : "markers",
      line: { color: own, width: 2, dash: side ? "dash" : "solid" }, marker: { color: own, size: 8, symbol: side ? "diamond" : "circle" },
      hovertemplate: `<b>${SIDES[side]}: %{fullData.name}</b><br>%{text}<br>at %{x:,.5~g} ${unit}<extra></extra>`,
    },
  ];
};
/** Draw a metric of both; `sides` are {name, line(metric)}. Returns the names of those without a curve of it. */
const drawCompared = (plot, metric, axis, sides) => {
  const lines = sides.map(({ line }) => line(metric));
  const drawn = lines.filter(Boolean);
  const [unit, one] = unitOf(axis, Math.max(...drawn.map(({ x }) => x.at(-1)), 0));
  for (const line of drawn) line.x = line.x.map((value) => value / one);
  const range = yRange(drawn, metric.share, false, true);
  const label = axisLabel(axis);
  Plotly.react(plot, lines.flatMap((line, side) => (
    line ? comparedTraces(line, side, sides[side].name, metric, unit || label.toLowerCase()) : [])), {
    ...layoutStyle(), height: plot.clientHeight, margin: { l: 62, r: 16, t: 28, b: 48 }, uirevision: [metric.name, axis].join(),
    xaxis: { ...axisStyle(titled(label, unit)), rangemode: "tozero" },
    yaxis: {
      ...axisStyle(plain(titled(metric.label, metric.unit))), tickformat: metric.share ? "~%" : "", ...(range ? { range } : {}),
    },
  }, config("compared"));
  return sides.filter((_, side) => !lines[side]).map(({ name }) => name);
};
