"use strict";
// Updates a page of the dashboard. It asks only its own server and replaces only what has changed, so that a reader
// keeps the scroll position, open details, axes and chosen cells.
(() => {
  const AGAIN_MS = 2000; // between two requests for a page that is still being rendered
  const AFTER_ERROR_MS = 5000;
  const KEPT = "script, style, noscript, #no-plotly, #live, .made"; // #live is ours, what is made is of the page's own script
  const file = decodeURIComponent(location.pathname.split("/").pop()) || "index.html";
  const isIndex = file === "index.html";
  const main = document.querySelector("main");

  let shown = document.querySelector("meta[name=live]").content;
  let wanted = shown;
  let timer = 0;
  let events = null;

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  /** Within these, space between elements shows nothing; matching it would move the elements around it. */
  const SPACED = "main, section, figure, table, thead, tbody, tr, ol, ul, dl, .controls, .legend";
  const isSpace = (node) => node.nodeType === Node.TEXT_NODE && !node.data.trim() && node.parentNode.matches(SPACED);
  const isKept = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.matches(KEPT) : isSpace(node));
  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.getAttribute("aria-labelledby") : null) || null;
  const sameKind = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

  /** Of a plot, the place and the size alone: report.js draws it. */
  const morphPlot = (old, fresh) => {
    for (const { name, value } of fresh.attributes) {
      if (name !== "class" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };
  /** Make `old` say what `fresh` says, with as many of its nodes as can stay. */
  const morph = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (fresh.matches(".plot")) {
      morphPlot(old, fresh);
      return;
    }
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    const left = [...old.childNodes].filter((node) => !isKept(node));
    const ordered = [...fresh.childNodes].filter((node) => !isKept(node)).map((node) => {
      const at = left.findIndex((one) => sameKind(one, node));
      if (at < 0) return document.importNode(node, true);
      const [match] = left.splice(at, 1);
      morph(match, node);
      return match;
    });
    for (const node of left) node.remove();
    ordered.reduceRight((after, node) => {
      let next = node.nextSibling;
      while (next && isKept(next)) next = next.nextSibling;
      if (node.parentNode !== old || next !== after) old.insertBefore(node, after);
      return node;
    }, null);
  };

  const CONTROLS = ".controls input, .controls select";
  const labelOf = (input) => input.parentElement.textContent.trim();
  /** What the reader set, by the texts on the page: their values may be numbered anew. */
  const choices = () => {
    const found = {};
    for (const one of main.querySelectorAll(CONTROLS)) {
      if (one.type === "checkbox") found[one.id] = one.checked;
      else if (one.type !== "radio") found[one.id] = one.selectedOptions[0]?.textContent;
      else if (one.checked) found[one.name] = labelOf(one);
    }
    return found;
  };
  const choose = (wanted) => {
    for (const one of main.querySelectorAll(CONTROLS)) {
      if (one.type === "checkbox") one.checked = wanted[one.id] ?? one.checked;
      else if (one.type === "radio") one.checked = wanted[one.name] === labelOf(one) || one.checked;
      else for (const option of one.options) if (option.textContent === wanted[one.id]) option.selected = true;
    }
  };

  /** Brings the place back that a reader had, until the first message has made its room on the page. */
  let settle = () => {};
  const MINE = `cifarsweep ${location.pathname}`;
  const summaryOf = (details) => details.querySelector("summary").textContent;
  const top = (heading) => heading.getBoundingClientRect().top;
  /** A page that can't be changed in place is loaded anew, and shown as it was left. */
  const loadAnew = () => {
    const headings = [...main.querySelectorAll("h2[id]")];
    const last = headings.findLast((heading) => top(heading) < innerHeight / 2);
    const left = {
      choices: choices(), open: Array.from(main.querySelectorAll("details[open]"), summaryOf),
      at: scrollY && last ? [last.id, top(last)] : null,
    };
    try {
      sessionStorage.setItem(MINE, JSON.stringify(left));
      history.scrollRestoration = "manual";
    } catch { /* a browser that keeps nothing opens it at the top */ }
    location.reload();
  };
  const asLeft = () => {
    let left = null;
    try {
      left = JSON.parse(sessionStorage.getItem(MINE));
      sessionStorage.removeItem(MINE);
    } catch { /* nothing was kept */ }
    if (!left) return;
    choose(left.choices);
    if (left.open.length) document.dispatchEvent(new CustomEvent("details-wanted")); // closed ones may not be built yet
    for (const each of main.querySelectorAll("details")) if (left.open.includes(summaryOf(each))) each.open = true;
    history.scrollRestoration = "auto";
    const heading = left.at && document.getElementById(left.at[0]);
    if (heading) settle = () => scrollBy(0, top(heading) - left.at[1]);
    settle();
  };

  const take = (page) => {
    const stamp = page.querySelector("meta[name=live]")?.content;
    if (!stamp || stamp === shown) return;
    const [had, has] = [document, page].map((one) => one.getElementById("no-plotly") !== null);
    if (had !== has) {
      loadAnew(); // plotly.js comes with the first figures
      return;
    }
    // Without plotly.js, report.js has removed the figures.
    if (typeof Plotly === "undefined") {
      for (const figure of page.querySelectorAll("figure.drawn")) figure.remove();
      for (const section of page.querySelectorAll("section")) if (section.children.length < 2) section.remove();
    }
    const chosen = choices();
    document.dispatchEvent(new CustomEvent("page-arrives", { detail: page }));
    morph(main, page.querySelector("main"));
    choose(chosen);
    shown = stamp;
    const newer = JSON.parse(page.getElementById("report-data")?.textContent ?? "null");
    if (newer) document.dispatchEvent(new CustomEvent("newer-data", { detail: newer }));
    document.dispatchEvent(new CustomEvent("page-changed"));
  };

  const refresh = async () => {
    timer = 0;
    let pause = AGAIN_MS;
    try {
      const answer = await fetch(location.pathname, { cache: "no-cache" });
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      else pause = AFTER_ERROR_MS;
    } catch {
      pause = AFTER_ERROR_MS; // the event stream reports that the server is away
    }
    if (shown !== wanted && events) plan(pause);
  };
  const plan = (pause) => { if (!timer) timer = setTimeout(refresh, pause); };

  const cell = (value, numeric) => element("td", { class: numeric ? "number" : null }, value === "" ? "–" : value);
  const table = (id, caption, heads, rows) => [
    element("p", { class: "caption", id }, element("b", {}, caption)),
    element("div", { class: "scroll", role: "group", "aria-labelledby": id, tabindex: "0" },
      element("table", { class: "live" },
        element("thead", {}, element("tr", {}, ...heads.map(([text, numeric]) =>
          element("th", { scope: "col", class: numeric ? "number" : null }, text)))),
        element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((value, at) => cell(value, heads[at][1]))))))),
  ];
  const link = ({ study, trial, page }) =>
    element("a", { href: `${isIndex ? page : ""}#trial-${trial}` }, isIndex ? `${study}/${trial}` : String(trial));

  // Columns that show whether a worker trains come first: a phone shows two or three.
  const beat = (one) => element("span", { class: one.lost ? "trouble" : null }, one.beat);
  const name = (text) => element("bdi", {}, text);
  const trouble = (text) => (
    element("p", { class: "notice" }, ...text.split("`").map((part, nth) => (nth % 2 ? element("code", {}, part) : part))));
  const runningTable = (running) => table("live-running", "Trials", [
    ["Trial"], ["Last beat"], ["Cell"], ["Seed", true], ["Epoch", true], ["Accuracy", true],
    ["Training loss", true], ["Step", true], ["Host and device"],
  ], running.map((one) => [
    link(one), beat(one), name(one.cell), String(one.seed), one.epoch, one.accuracy, one.loss, one.step, name(one.where),
  ]));
  const workerTable = (workers) => table("live-workers", "Workers", [["Worker"], ["Last beat"], ["Slots"], ["Trials"], ["Host and device"]],
    workers.map((one) => [name(one.worker), beat(one), one.slots, one.trials, name(one.where)]));
  const errorTable = (errors) => table("live-errors", "Newest errors", [["Trial"], ["Error"], ["End"], ["Attempt", true], ["At"]],
    errors.map((one) => [link(one), name(one.error), one.end, String(one.attempt), one.at]));

  const panel = element("section", { id: "live", "aria-labelledby": "under-way" });
  if (isIndex) main.querySelector("footer").before(panel);
  else main.querySelector("header").after(panel);
  const heading = () => element("h2", { id: "under-way" }, "Under way");
  const say = (sentence) => {
    const old = panel.querySelector(".away");
    if (old) old.textContent = sentence;
    else panel.prepend(element("p", { class: "notice away", role: "status" }, sentence));
  };

  const show = (news) => {
    if (news.away) {
      say(`${news.away}. What stands below may be old; the page looks again by itself.`);
      return;
    }
    const mine = (one) => isIndex || one.page === file;
    const [running, errors] = [news.running.filter(mine), news.errors.filter(mine)];
    const study = Object.values(news.studies).find(mine);
    const mineToo = ({ pages }) => isIndex || pages.includes(file);
    const workers = news.workers.filter(mineToo);
    const parts = [heading(), ...(news.troubles[file] ?? []).map(trouble)];
    if (!isIndex && study) parts.push(element("p", { class: "counts" }, `${study.total} trials: ${study.counts}`));
    if (running.length) parts.push(...runningTable(running));
    else parts.push(element("p", {}, "No trial is under way."));
    if (workers.length) parts.push(...workerTable(workers));
    if (errors.length) parts.push(...errorTable(errors));
    morph(panel, element("section", { id: "live", "aria-labelledby": "under-way" }, ...parts));
    settle();
    settle = () => {};
    wanted = news.stamps[file] ?? "";
    if (wanted !== shown) plan(0);
  };

  const open = () => {
    if (events || document.hidden) return;
    events = new EventSource("events");
    events.onmessage = ({ data }) => show(JSON.parse(data));
    events.onerror = () => {
      say("The dashboard does not answer. What stands below may be old; the page tries again by itself.");
      if (events?.readyState !== EventSource.CLOSED) return;
      close();
      setTimeout(open, AFTER_ERROR_MS);
    };
  };
  const close = () => {
    events?.close();
    events = null;
  };
  // A browser opens at most six connections to a server for all tabs, so hidden tabs close theirs.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  asLeft();
  open();
})();
