// Turns a figure of HTML and SVG, as the browser has laid it out, into plain SVG without a style sheet: for files.
const SVG = "http://www.w3.org/2000/svg";
const element = (name, attributes, ...children) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const dye = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
/** A colour as any program reads it, and its opacity: browsers also write color(srgb 0.1 0.2 0.3). */
const plainColour = (text) => {
  if (!text || text === "none") return { colour: "none", opacity: 0 };
  dye.clearRect(0, 0, 1, 1);
  dye.fillStyle = text;
  dye.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = dye.getImageData(0, 0, 1, 1).data;
  return { colour: `rgb(${red}, ${green}, ${blue})`, opacity: alpha / 255 };
};
const LENGTHS = ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"];
const lengthOf = (value) => value?.baseVal?.value ?? value?.baseVal?.[0]?.value;
const NUMBER = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/g;
/** A path of straight lines with its points moved by a matrix, so that its stroke keeps its width; null for curves. */
const movedPath = (d, matrix) => {
  if (/[^MLHVmlhv\d\s.,eE+-]/.test(d)) return null;
  let [x, y, moved] = [0, 0, ""];
  for (const [, command, rest] of d.matchAll(/([MLHVmlhv])([^MLHVmlhv]*)/g)) {
    const numbers = (rest.match(NUMBER) ?? []).map(Number);
    const kind = command.toUpperCase();
    const count = kind === "H" || kind === "V" ? 1 : 2;
    for (let at = 0; at < numbers.length; at += count) {
      const [left, top] = command === kind ? [0, 0] : [x, y];
      if (kind !== "V") x = left + numbers[at];
      if (kind !== "H") y = top + numbers[at + count - 1];
      const point = new DOMPoint(x, y).matrixTransform(matrix);
      moved += `${kind === "M" && !at ? "M" : "L"}${point.x.toFixed(2)} ${point.y.toFixed(2)}`;
    }
  }
  return moved;
};
const painted = (style) => {
  const [fill, stroke] = [style.fill, style.stroke].map(plainColour);
  const found = { fill: fill.opacity ? fill.colour : "none" };
  if (fill.opacity) found["fill-opacity"] = fill.opacity * Number(style.fillOpacity);
  if (!stroke.opacity) return found;
  return {
    ...found, stroke: stroke.colour, "stroke-opacity": stroke.opacity * Number(style.strokeOpacity), "stroke-width": parseFloat(style.strokeWidth),
    "stroke-dasharray": style.strokeDasharray.replaceAll("px", ""), "stroke-linejoin": style.strokeLinejoin,
  };
};
const fontOf = (style) => ({ "font-family": style.fontFamily.replaceAll('"', "'"), "font-size": Math.min(parseFloat(style.fontSize), paper.font), "font-weight": style.fontWeight });
/** A shape or a text of SVG, at its place on the page. */
const shapePart = (shape, style, origin) => {
  const matrix = new DOMMatrix([1, 0, 0, 1, -origin.left, -origin.top]).multiply(shape.getScreenCTM());
  const { a, b, c, d, e, f } = matrix;
  const paint = painted(style);
  if (paint.fill === "none" && !paint.stroke) return [];
  const transform = `matrix(${[a, b, c, d, e, f].map((one) => Number(one.toFixed(4))).join(" ")})`;
  const lengths = LENGTHS.map((key) => [key, lengthOf(shape[key])]).filter(([key, value]) => value !== undefined && shape.hasAttribute(key));
  const places = Object.fromEntries(lengths.map(([key, value]) => [key, Number(value.toFixed(2))]));
  if (shape instanceof SVGTextElement) {
    return [element("text", { ...places, ...fontOf(style), ...paint, "text-anchor": style.textAnchor, transform }, shape.textContent.trim())];
  }
  const path = shape instanceof SVGPathElement ? movedPath(shape.getAttribute("d"), matrix) : null;
  if (path !== null) {
    const grown = style.vectorEffect === "none" ? Math.sqrt(Math.abs(a * d - b * c)) : 1;
    return [element("path", { d: path, ...paint, ...(paint.stroke ? { "stroke-width": Number((paint["stroke-width"] * grown).toFixed(3)) } : {}) })];
  }
  const given = Object.fromEntries(["d", "points"].filter((key) => shape.hasAttribute(key)).map((key) => [key, shape.getAttribute(key)]));
  return [element(shape.localName, { ...places, ...given, ...paint, transform })];
};
/** The background and the borders of a box. */
const boxParts = (box, style, origin) => {
  const rect = box.getBoundingClientRect();
  const place = { x: rect.left - origin.left, y: rect.top - origin.top, width: rect.width, height: rect.height };
  const parts = [];
  // Other gradients are shadows that say that there is more to scroll to.
  const colours = box.matches(".bar") ? style.backgroundImage.match(/(rgba?|color)\([^)]*\)/g) : null;
  const back = plainColour(style.backgroundColor);
  if (colours?.length > 1) {
    const id = `shade-${Math.round(place.x)}-${Math.round(place.y)}`;
    const ordered = style.backgroundImage.includes("to left") ? colours.toReversed() : colours;
    const stops = ordered.map((text, nth) => element("stop", { offset: nth / (colours.length - 1), "stop-color": plainColour(text).colour }));
    parts.push(element("linearGradient", { id }, ...stops), element("rect", { ...place, fill: `url(#${id})` }));
  } else if (back.opacity && (back.opacity < 1 || back.colour !== "rgb(255, 255, 255)")) {
    parts.push(element("rect", { ...place, fill: back.colour, "fill-opacity": back.opacity }));
  }
  const ends = { Left: [0, 0, 0, 1], Right: [1, 0, 1, 1], Top: [0, 0, 1, 0], Bottom: [0, 1, 1, 1] };
  for (const [side, [x1, y1, x2, y2]] of Object.entries(ends)) {
    const [width, line] = [parseFloat(style[`border${side}Width`]), plainColour(style[`border${side}Color`])];
    if (!width || style[`border${side}Style`] === "none" || !line.opacity) continue;
    const at = (share, start, length) => (start + share * length).toFixed(2);
    parts.push(element("line", {
      x1: at(x1, place.x, place.width), x2: at(x2, place.x, place.width), y1: at(y1, place.y, place.height), y2: at(y2, place.y, place.height),
      stroke: line.colour, "stroke-width": width,
    }));
  }
  return parts;
};
/** A text, a part for each line that it is broken into. */
const textParts = (text, origin) => {
  const style = getComputedStyle(text.parentElement);
  const lines = new Map();
  for (const word of text.data.matchAll(/\S+/g)) {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    const rect = range.getBoundingClientRect();
    if (!rect.width) continue;
    const line = lines.get(Math.round(rect.top)) ?? { rect, words: [] };
    line.words.push(word[0]);
    lines.set(Math.round(rect.top), line);
  }
  ruler.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  const { fontBoundingBoxAscent: up, fontBoundingBoxDescent: down } = ruler.measureText("x");
  const colour = plainColour(style.color);
  return [...lines.values()].map(({ rect, words }) => element("text", {
    x: (rect.left - origin.left).toFixed(2), y: (rect.top - origin.top + (rect.height - up - down) / 2 + up).toFixed(2), ...fontOf(style), fill: colour.colour,
  }, words.join(" ")));
};
const UNSEEN = "title, desc, figcaption, .controls, .sr, .screen, details";
/** All that is seen in an element, in its order, with the element's corner as origin. */
const flattened = (whole) => {
  const origin = whole.getBoundingClientRect();
  const visit = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data.trim() && !(node.parentElement instanceof SVGElement) ? textParts(node, origin) : [];
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(UNSEEN)) return [];
    const style = getComputedStyle(node);
    if (style.display === "none" || style.visibility === "hidden") return [];
    if (node instanceof SVGGeometryElement || node instanceof SVGTextElement) return shapePart(node, style, origin);
    const own = node instanceof SVGElement && node.ownerSVGElement ? [] : boxParts(node, style, origin);
    return [...own, ...[...node.childNodes].flatMap(visit)];
  };
  return { width: origin.width, height: origin.height, parts: [...whole.childNodes].flatMap(visit) };
};
