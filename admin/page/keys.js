// The keyboard: whoever is here at night may not want to aim.

const rows = () => [...byId("services").querySelectorAll(".head, tr.row, .more")].filter((n) => n.getClientRects().length > 0);

function focusRow(row) {
  row?.focus();
  row?.scrollIntoView({ block: "nearest" });
}

// step goes n rows on from the one that has the focus, or has had it.
function step(n) {
  const all = rows();
  const at = all.findIndex((r) => r === document.activeElement || r.closest("tbody")?.contains(document.activeElement));
  focusRow(at < 0 ? all[n > 0 ? 0 : all.length - 1] : all[Math.max(0, Math.min(all.length - 1, at + n))]);
}

function setFilter(text) {
  byId("filter").value = text;
  shown.filter = text.trim().toLowerCase();
}

const actsOn = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  g: () => focusRow(rows()[0]), G: () => focusRow(rows().at(-1)),
  "/": () => { byId("filter").focus(); byId("filter").select(); },
  u: () => { shown.unusual = !shown.unusual; render(); },
  "?": () => byId("help").showModal(),
  Escape: () => { setFilter(""); document.activeElement?.blur(); render(); },
  Enter: () => {
    const view = document.activeElement?.view; // a button is clicked by the browser
    if (!view?.toggle) return false;
    view.toggle();
    return true;
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("live").hidden) return;
  if (document.querySelector("dialog[open]")) return; // the browser closes it on Escape
  if (event.target === byId("filter")) {
    if (event.key === "Enter" || event.key === "ArrowDown") focusRow(rows()[0]);
    else if (event.key !== "Escape") return;
  }
  const act = event.target === byId("filter") && event.key !== "Escape" ? () => true : actsOn[event.key];
  if (act && act() !== false) event.preventDefault();
});

byId("filter").addEventListener("input", () => { setFilter(byId("filter").value); render(); });
byId("unusual").addEventListener("click", actsOn.u);
byId("keys").addEventListener("click", actsOn["?"]);
byId("earlier").addEventListener("click", () => { shown.earlier = true; render(); });
byId("help-close").addEventListener("click", () => byId("help").close());
