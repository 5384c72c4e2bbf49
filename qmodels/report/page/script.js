"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);
const anchors = new Map(Object.entries(JSON.parse(document.getElementById("anchors").textContent)));
const drawn = new Set();

// Draw a chart when it can be seen: one without width has none to fill.
async function draw(id) {
  if (drawn.has(id) || !(id in charts)) return;
  drawn.add(id);
  const options = { actions: false, renderer: "svg", tooltip: { theme: "custom" } };
  const { view } = await vegaEmbed(`#${id}`, charts[id], options);
  view.addEventListener("click", (event, item) => show(anchors.get(item?.datum?.variant)));
}

// Open the details of a variant, and go there.
function show(anchor) {
  const details = anchor && document.getElementById(anchor);
  if (!details) return;
  details.open = true;
  details.scrollIntoView();
  details.querySelector("summary").focus({ preventScroll: true });
}

function drawIn(element) {
  for (const chart of element.querySelectorAll(".chart")) draw(chart.id);
}

drawIn(document.getElementById("trade-offs"));
for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => details.open && drawIn(details));
}
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  if (!link) return;
  event.preventDefault(); // going to a fragment would take the focus away
  history.pushState(null, "", link.hash);
  show(link.hash.slice(1));
});
if (location.hash) show(location.hash.slice(1));
