"use strict";
// Keeps a page of the dashboard fresh. Asks its own server alone, and touches only what has changed, so that a reader
// keeps the place, the open details, the axes and the cells that were chosen.
(() => {
  const AGAIN_MS = 2000; // between two looks for a page that is still being made
  const AFTER_ERROR_MS = 5000;
  // What report.js draws and sets; #live is ours.
  const KEPT = ".plot, .controls, .legend, script, style, noscript, #no-plotly, #live";
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

  const isKept = (node) => node.nodeType === Node.ELEMENT_NODE && node.matches(KEPT);
  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.getAttribute("aria-labelledby") : null) || null;
  const sameKind = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

  /** Make `old` say what `fresh` says, with as many of its nodes as can stay. */
  const morph = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
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

  /** The controls of all figures: report.js listens to those that it found, so a page with others is loaded anew. */
  const controls = (page) => {
    const found = page.querySelectorAll(".controls input, .controls option, .legend button[data-cell]");
    return Array.from(found, (one) => `${one.name}=${one.value} ${one.textContent}`).join("\n");
  };

  const take = (page) => {
    const stamp = page.querySelector("meta[name=live]")?.content;
    if (!stamp || stamp === shown) return;
    const drawn = typeof Plotly !== "undefined"; // without it report.js has taken the figures away
    const [had, has] = [document, page].map((one) => one.getElementById("report-data") !== null);
    if (had !== has || (drawn && controls(page) !== controls(document))) {
      location.reload();
      return;
    }
    morph(main, page.querySelector("main"));
    shown = stamp;
    const newer = JSON.parse(page.getElementById("report-data")?.textContent ?? "null");
    if (newer) document.dispatchEvent(new CustomEvent("newer-data", { detail: newer }));
  };

  const refresh = async () => {
    timer = 0;
    let pause = AGAIN_MS;
    try {
      const answer = await fetch(location.pathname, { cache: "no-cache" });
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      else pause = AFTER_ERROR_MS;
    } catch {
      pause = AFTER_ERROR_MS; // the events tell that the server is away
    }
    if (shown !== wanted && events) plan(pause);
  };
  const plan = (pause) => { if (!timer) timer = setTimeout(refresh, pause); };

  const cell = (value, numeric) => element("td", { class: numeric ? "number" : null }, value === "" ? "–" : value);
  const table = (id, caption, heads, rows) => [
    element("p", { class: "caption", id }, element("b", {}, caption)),
    element("div", { class: "scroll", role: "region", "aria-labelledby": id, tabindex: "0" },
      element("table", { class: "live" },
        element("thead", {}, element("tr", {}, ...heads.map(([text, numeric]) =>
          element("th", { scope: "col", class: numeric ? "number" : null }, text)))),
        element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((value, at) => cell(value, heads[at][1]))))))),
  ];
  const link = ({ study, trial, page }) =>
    element("a", { href: `${isIndex ? page : ""}#trial-${trial}` }, isIndex ? `${study}/${trial}` : String(trial));

  const runningTable = (running) => table("live-running", "Trials", [
    ["Trial"], ["Cell"], ["Seed", true], ["Epoch", true], ["Validation accuracy", true], ["Training loss", true],
    ["Step", true], ["Last beat"], ["Host and device"],
  ], running.map((one) => [
    link(one), one.cell, String(one.seed), one.epoch, one.accuracy, one.loss, one.step,
    element("span", { class: one.expired ? "trouble" : null }, one.beat), one.where,
  ]));
  const workerTable = (workers) => table("live-workers", "Workers", [["Worker"], ["Host and device"], ["Slots"], ["Trials"], ["Last beat"]],
    workers.map((one) => [one.worker, one.where, one.slots, one.trials, one.beat]));
  const errorTable = (errors) => table("live-errors", "Newest errors", [["Trial"], ["Error"], ["End"], ["Attempt", true], ["At"]],
    errors.map((one) => [link(one), one.error, one.end, String(one.attempt), one.at]));

  const panel = element("section", { id: "live", "aria-labelledby": "under-way" });
  if (isIndex) main.querySelector("footer").before(panel);
  else main.querySelector("header").after(panel);
  const heading = () => element("h2", { id: "under-way" }, "Under way");
  const say = (sentence) => {
    const old = panel.querySelector(".notice");
    if (old) old.textContent = sentence;
    else panel.prepend(element("p", { class: "notice", role: "status" }, sentence));
  };

  const show = (news) => {
    if (news.away) {
      say(`${news.away}. What stands below may be old; the page looks again by itself.`);
      return;
    }
    const mine = (one) => isIndex || one.page === file;
    const [running, errors] = [news.running.filter(mine), news.errors.filter(mine)];
    const study = Object.values(news.studies).find(mine);
    const parts = [heading()];
    if (!isIndex && study) parts.push(element("p", { class: "counts" }, `${study.total} trials: ${study.counts}`));
    if (running.length) parts.push(...runningTable(running));
    else parts.push(element("p", {}, "No trial is under way."));
    if (isIndex && news.workers.length) parts.push(...workerTable(news.workers));
    if (errors.length) parts.push(...errorTable(errors));
    morph(panel, element("section", { id: "live", "aria-labelledby": "under-way" }, ...parts));
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
  // A browser gives a server six connections for all its tabs, so those that nobody sees let theirs go.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
