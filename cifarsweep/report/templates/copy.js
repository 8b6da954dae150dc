// Buttons that copy a text of the page: also from a file, and where the browser gives no clipboard to a page.
const selectAll = (element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
};
const copyText = async (element) => {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch { // no clipboard without HTTPS, or it is not allowed
    selectAll(element);
    return document.execCommand("copy");
  }
};
for (const button of document.querySelectorAll("button[data-copies]")) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.textContent = await copyText(byId(button.dataset.copies)) ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => { button.textContent = label; }, 2500);
  });
}
