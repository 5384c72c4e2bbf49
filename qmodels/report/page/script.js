// A module: the library's own names are in the page's scope.
const charts = JSON.parse(document.getElementById("charts").textContent);
const anchors = new Map(Object.entries(JSON.parse(document.getElementById("anchors").textContent)));
const drawn = new Set();

// Draw a chart when it can be seen: one without width has none to fill.
async function draw(id) {
  if (drawn.has(id) || !(id in charts)) return;
  drawn.add(id);
  const options = { actions: false, renderer: "svg", tooltip: { theme: "custom" } };
  const { view } = await vegaEmbed(`#${id}`, charts[id], options);
  view.addEventListener("click", (event, item) => {
    const anchor = anchors.get(item?.datum?.variant);
    if (anchor) go(`#${anchor}`);
  });
}

function drawIn(element) {
  for (const chart of element.querySelectorAll(".chart")) draw(chart.id);
}

// Go to a part of the page as a link does, which alone would take the focus away.
function go(hash) {
  if (hash !== location.hash) history.pushState(null, "", hash);
  show();
}

// Open what the address names, and go there.
function show() {
  const part = location.hash && document.getElementById(location.hash.slice(1));
  if (!part) return;
  if (part.tagName === "DETAILS") part.open = true;
  part.scrollIntoView();
  part.querySelector("summary")?.focus({ preventScroll: true });
}

drawIn(document.getElementById("trade-offs"));
for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => details.open && drawIn(details));
}
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.hash);
});
addEventListener("hashchange", show);
show();
