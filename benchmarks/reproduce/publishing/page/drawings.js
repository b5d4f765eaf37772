// The pictures that experiments draw themselves: lines, bands and points, one panel at a time.
function setUpDrawings(box) {
  const { panels } = report.experiments[box.dataset.experiment];
  const form = box.querySelector("form");
  const plot = box.querySelector(".plot");
  const caption = box.querySelector("figcaption");
  const legend = box.querySelector(".legend");
  const hidden = new Set(); // by name, so that a choice lasts from panel to panel
  const solid = (colour) => (colour.length === 7 ? colour : "#888888");

  function traces(panel) {
    return panel.lines.filter((line) => !hidden.has(line.name)).flatMap((line) => {
      const label = escaped(line.name);
      const mode = [line.drawn && "lines", line.markers && "markers"].filter(Boolean).join("+");
      const shown = {
        name: label, x: line.x, y: line.y, mode: mode || "lines",
        line: { color: solid(line.colour), dash: line.dash }, marker: { color: solid(line.colour) },
        hovertemplate: `${label}<br>%{x:.4g}: %{y:.4g}<extra></extra>`,
      };
      if (!line.band) return [shown];
      return [{
        name: label, x: line.band.map(([x]) => x), y: line.band.map(([, y]) => y), mode: "lines",
        line: { width: 0 }, fill: "toself", fillcolor: faded(solid(line.colour)), hoverinfo: "skip",
      }, shown];
    });
  }

  function axis({ label, log, range }) {
    return {
      title: { text: escaped(label) }, type: log ? "log" : "linear", range: [...range],
      automargin: true, exponentformat: "power",
    };
  }

  function draw() {
    const panel = panels[form.panel.value];
    caption.textContent = `${panel.title}; ${panel.y.label} against ${panel.x.label}.`;
    Plotly.react(plot, traces(panel),
      layout({ height: 420, xaxis: axis(panel.x), yaxis: axis(panel.y) }), CONFIG);
  }

  function choose() {
    const panel = panels[form.panel.value];
    const named = panel.lines.filter((line, k) => line.name &&
      panel.lines.findIndex((other) => other.name === line.name) === k);
    const series = named.map((line) => ({
      label: line.name, colour: solid(line.colour), shown: !hidden.has(line.name),
      glyph: line.dash === "solid" ? "━" : "┅",
    }));
    legend.replaceChildren();
    makeLegend(legend, series, () => {
      for (const entry of series) {
        if (entry.shown) hidden.delete(entry.label);
        else hidden.add(entry.label);
      }
      draw();
    });
    draw();
  }

  form.addEventListener("change", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", draw);
  choose();
}
