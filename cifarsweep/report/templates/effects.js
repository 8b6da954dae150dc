// Effects of factors are drawn into the page itself; this lets their marks follow what the reader hides and colours.
const dressEffects = () => {
  for (const panel of document.querySelectorAll(".effect-panel svg")) {
    const factor = data.factors.findIndex(({ key }) => key === panel.dataset.factor);
    for (const mark of panel.querySelectorAll(".level")) {
      const level = data.factors[factor]?.levels.indexOf(mark.dataset.level) ?? -1;
      mark.classList.toggle("pale", view.hidden.has(`${factor}:${level}`));
      const own = level >= 0 && colourFactor() === factor ? `var(${levelColour(factor, level)})` : "";
      mark.style.setProperty("--own", own);
    }
  }
};
document.addEventListener("view-changed", dressEffects);
