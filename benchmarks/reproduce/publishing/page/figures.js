// What all figures share: their layout on light and dark screens, and their legend of buttons.
const dark = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)");

function layout(more) {
  return {
    template: { layout: report.layouts[dark.matches ? "dark" : "light"] },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13 },
    margin: { l: 56, r: 12, t: 36, b: 48 },
    modebar: { bgcolor: "rgba(0,0,0,0)" },
    dragmode: coarse.matches ? false : "zoom", // a finger on a figure scrolls the page
    showlegend: false, // the legend is one of buttons, for both figures and for the keyboard
    hoverlabel: { align: "left" },
    ...more,
  };
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d"] };
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const faded = (colour) => colour + "33";

function makeLegend(place, series, draw) {
  const buttons = [];
  function refresh() {
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", series[k].shown));
    draw();
  }
  for (const entry of series) {
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.setAttribute("aria-hidden", "true");
    swatch.textContent = entry.glyph;
    swatch.style.color = entry.colour;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", entry.shown);
    button.append(swatch, entry.label);
    button.addEventListener("click", () => {
      entry.shown = !entry.shown;
      refresh();
    });
    buttons.push(button);
  }
  const switches = [["All", true], ["None", false]].map(([text, shown]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => {
      series.forEach((entry) => { entry.shown = shown; });
      refresh();
    });
    return button;
  });
  place.append(...buttons, ...switches);
}
