// A map of differences over two axes that a reader chooses; the others are averaged, or held.
function setUpMap(box) {
  const { name, data } = report.experiments[box.dataset.experiment];
  const form = box.querySelector("form");
  const plot = box.querySelector(".plot");
  const caption = box.querySelector("figcaption");
  const axes = [...form.x.options].map((option) => option.value);
  const label = (axis) => [...form.x.options].find((o) => o.value === axis).text;
  const levels = (axis) => distinct(data.points.map((p) => p[axis])).sort((a, b) => a - b);
  const most = [...axes].sort((a, b) => levels(b).length - levels(a).length);
  form.x.value = most[0];
  form.y.value = most[1];

  function draw(event) {
    // An axis cannot be both: the other one takes its place.
    if (form.x.value === form.y.value) {
      const other = event && event.target === form.y ? form.x : form.y;
      other.value = axes.find((axis) => axis !== form.x.value);
      if (form.x.value === form.y.value) other.value = axes[0];
    }
    const [x, y] = [form.x.value, form.y.value];
    const held = axes.filter((axis) => axis !== x && axis !== y);
    for (const axis of axes) {
      form[`held-${axis}`].parentElement.hidden = !held.includes(axis) || levels(axis).length < 2;
    }
    const points = data.points.filter((p) => held.every((axis) => {
      const wanted = form[`held-${axis}`].value;
      return wanted === "" || p[axis] === Number(wanted);
    }));
    // By seed over the points of a cell, so that the interval is over seeds.
    const leadAt = (column, row) => {
      const leads = points.filter((p) => p[x] === column && p[y] === row)
        .map((p) => p.leads[form.lead.value]);
      return leads.length
        ? estimate(leads[0].map((_, k) => leads.reduce((sum, lead) => sum + lead[k], 0) / leads.length))
        : null;
    };
    const cells = levels(y).map((row) => levels(x).map((column) => leadAt(column, row)));
    const sure = (cell) => cell.half !== null && Math.abs(cell.mean) > cell.half;
    const each = (show) => cells.map((row) => row.map((cell) => (cell ? show(cell) : null)));
    const limit = Math.max(...finite(each((cell) => Math.abs(cell.mean)).flat()), 1e-9);
    const shown = (value) => value.toLocaleString("en", { maximumSignificantDigits: 6 });
    const title = form.lead.selectedOptions[0].text;
    const fixed = held.filter((axis) => form[`held-${axis}`].value !== "")
      .map((axis) => `${label(axis)} ${form[`held-${axis}`].value}`);
    caption.textContent = `${name}: eCPM, ${title}, averaged over ${points.length} conditions` +
      `${fixed.length ? ` with ${fixed.join(", ")}` : ""}; * where the 95 % interval over seeds, ` +
      "not corrected for the number of cells, leaves out 0.";
    Plotly.react(plot, [{
      type: "heatmap", z: each((cell) => cell.mean),
      x: levels(x).map(shown), y: levels(y).map(shown),
      text: each((cell) => `${cell.mean >= 0 ? "+" : "−"}${Math.abs(cell.mean).toFixed(2)}` +
        `${sure(cell) ? "*" : ""}`),
      texttemplate: "%{text}", hoverinfo: "text",
      hovertext: each((cell) => interval(cell)),
      zmin: -limit, zmax: limit, zmid: 0, xgap: 2, ygap: 2,
      // Brown, white and violet, which colour-blind readers can tell apart.
      colorscale: [[0, "#b35806"], [0.25, "#fdb863"], [0.5, "#f7f7f7"], [0.75, "#b2abd2"],
        [1, "#542788"]],
      colorbar: { thickness: 12 },
    }], layout({
      height: 420,
      xaxis: { type: "category", title: { text: label(x) }, automargin: true },
      yaxis: { type: "category", title: { text: label(y) }, automargin: true },
    }), CONFIG);
  }

  form.addEventListener("change", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", () => draw());
  draw();
}
