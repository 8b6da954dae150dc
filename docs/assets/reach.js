// Tables that are wider than a phone scroll in boxes of the theme: let the keyboard reach these.
const reach = () => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) {
    box.tabIndex = 0;
    box.role = "group";
    box.ariaLabel = "Table";
  }
};
new MutationObserver(reach).observe(document.documentElement, { childList: true, subtree: true });
reach();
