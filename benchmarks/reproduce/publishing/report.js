"use strict";
// Draws the figures of the report, narrows its table of verdicts, and makes its downloads.
(() => {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");

  // Okabe and Ito's colours, which colour-blind readers can tell apart; grey suits both themes.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#888888"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "star"];
  const GLYPHS = ["●", "■", "◆", "▲", "✖", "★"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const MANY = 12;

  // --- numbers

  const finite = (values) => values.filter((value) => Number.isFinite(value));
  const distinct = (values) => [...new Set(values)];

  // Mean of one number a seed, with Student's 95 % interval where there are two seeds.
  function estimate(values) {
    const n = values.length;
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    if (n < 2) return { mean, half: null, n };
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return { mean, half: report.quantiles[n] * Math.sqrt(squares / (n - 1) / n), n };
  }

  function interval({ mean, half, n }) {
    const shown = (value) => value.toPrecision(4);
    const range = half === null ? "" : ` [${shown(mean - half)}, ${shown(mean + half)}]`;
    return `${shown(mean)}${range}, ${n} seed${n === 1 ? "" : "s"}`;
  }

  // Agents and their variants are series, in the order of the records.
  function seriesOf(records) {
    const variants = new Map();
    for (const record of records) {
      if (!variants.has(record.agent)) variants.set(record.agent, new Map());
      variants.get(record.agent).set(record.variant, record.overrides);
    }
    const found = [];
    for (const [agent, all] of variants) {
      for (const [variant, overrides] of all) {
        const own = Object.entries(overrides).map(([name, value]) => `${name}=${value}`);
        const label = all.size === 1 ? agent : `${agent} (${own.join(", ") || "defaults"})`;
        const k = found.length;
        const turn = Math.floor(k / COLOURS.length);
        found.push({
          agent, variant, label, shown: true,
          colour: COLOURS[k % COLOURS.length],
          symbol: SYMBOLS[turn % SYMBOLS.length],
          glyph: GLYPHS[turn % GLYPHS.length],
          dash: DASHES[turn % DASHES.length],
        });
      }
    }
    return found;
  }

  // By condition and series, records of all seeds.
  function grouped(records) {
    const groups = new Map();
    for (const record of records) {
      const key = JSON.stringify([record.condition, record.agent, record.variant]);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(record);
    }
    return (condition, series) =>
      groups.get(JSON.stringify([condition, series.agent, series.variant])) || [];
  }

  // --- figures

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

  function setUp(box) {
    const { name, records } = report.experiments[box.dataset.experiment];
    const series = seriesOf(records);
    const of = grouped(records);
    const conditions = distinct(records.map((record) => record.condition));
    const form = box.querySelector("form");
    const [test, curves] = box.querySelectorAll(".plot");
    const [testCaption, curvesCaption] = box.querySelectorAll("figcaption");
    const hasCurves = records.some((record) => record.curve && record.curve.length);
    curves.parentElement.hidden = !hasCurves;
    const several = distinct(series.map((one) => one.agent)).length < series.length;
    form.best.parentElement.hidden = !several;
    form.best.checked = several && series.length > MANY;

    const onValidation = (condition) => (one) =>
      estimate(finite(of(condition, one).map((record) => record.validation))).mean;

    // Series that are drawn in a condition.
    function drawn(condition) {
      const there = series.filter((one) => one.shown && of(condition, one).length);
      if (!form.best.checked) return there;
      const value = onValidation(condition);
      return there.filter((one) => !series.some((other) =>
        other.agent === one.agent && value(other) > value(one)));
    }

    const scores = (condition, one) =>
      finite(of(condition, one).map((record) => record.test[form.metric.value]));

    function hover(condition, one, values) {
      const runs = of(condition, one);
      const diverged = runs.filter((record) => record.diverged_at !== null).length;
      return `${escaped(one.label)}<br>${escaped(condition)}<br>${interval(estimate(values))}` +
        (diverged ? `<br>${diverged} of ${runs.length} diverged` : "");
    }

    // A line a series over all conditions.
    function sideBySide() {
      const shown = new Map(conditions.map((condition) => [condition, drawn(condition)]));
      const traces = series.filter((one) => one.shown).map((one) => {
        const points = conditions.filter((c) => shown.get(c).includes(one) && scores(c, one).length)
          .map((c) => ({ c, values: scores(c, one), ...estimate(scores(c, one)) }));
        return {
          name: escaped(one.label), x: points.map((p) => escaped(p.c)),
          y: points.map((p) => p.mean),
          error_y: { array: points.map((p) => p.half), thickness: 1.5, width: 3 },
          text: points.map((p) => hover(p.c, one, p.values)), hoverinfo: "text",
          mode: "lines+markers", line: { color: one.colour, dash: one.dash },
          marker: { symbol: one.symbol, size: 8, color: one.colour },
        };
      }).filter((trace) => trace.x.length);
      return [traces, {
        height: 420,
        xaxis: { type: "category", automargin: true, tickangle: conditions.length > 3 ? -35 : 0 },
        yaxis: { title: { text: form.metric.value }, automargin: true },
      }];
    }

    // A row a series, with its interval and every seed.
    function rows(condition) {
      const there = drawn(condition).filter((one) => scores(condition, one).length);
      // On a phone long labels would leave no room for what they label.
      const between = box.clientWidth < 600 ? ",<br>" : ", ";
      const broken = (one) => escaped(one.label).replaceAll(", ", between);
      const lines = Math.max(1, ...there.map((one) => broken(one).split("<br>").length));
      const traces = there.flatMap((one) => {
        const values = scores(condition, one);
        const { mean, half } = estimate(values);
        const label = escaped(one.label);
        return [
          {
            name: label, x: values, y: values.map(() => broken(one)), mode: "markers",
            hoverinfo: "x+text", marker: { color: one.colour, size: 6, opacity: 0.4 },
            text: of(condition, one).filter((r) => Number.isFinite(r.test[form.metric.value]))
              .map((r) => `${label}, seed ${r.seed}`),
          },
          {
            name: label, x: [mean], y: [broken(one)], mode: "markers", hoverinfo: "text",
            error_x: { array: [half], thickness: 2, width: 5, color: one.colour },
            text: [hover(condition, one, values)],
            marker: { color: one.colour, size: 11, symbol: one.symbol },
          },
        ];
      });
      return [traces, {
        height: 110 + (18 + 16 * lines) * Math.max(there.length, 2),
        margin: { l: 12, r: 12, t: 36, b: 48 },
        xaxis: { title: { text: form.metric.value } },
        yaxis: { type: "category", autorange: "reversed", automargin: true },
      }];
    }

    function learning(condition) {
      return drawn(condition).flatMap((one) => {
        const runs = of(condition, one).filter((record) => record.curve && record.curve.length);
        const steps = distinct(runs.flatMap((record) => record.curve.map(([step]) => step)))
          .sort((a, b) => a - b);
        const at = runs.map((record) => new Map(record.curve));
        const points = steps.map((step) => finite(at.map((curve) => curve.get(step))))
          .map((values, k) => ({ step: steps[k], values })).filter((p) => p.values.length)
          .map((p) => ({ step: p.step, ...estimate(p.values) }));
        if (!points.length) return [];
        const banded = points.filter((p) => p.half !== null);
        const label = escaped(one.label);
        const band = {
          name: label, mode: "lines", line: { width: 0 }, fill: "toself", hoverinfo: "skip",
          fillcolor: faded(one.colour),
          x: [...banded, ...[...banded].reverse()].map((p) => p.step),
          y: [...banded.map((p) => p.mean + p.half),
            ...[...banded].reverse().map((p) => p.mean - p.half)],
        };
        const line = {
          name: label, mode: "lines+markers", x: points.map((p) => p.step),
          y: points.map((p) => p.mean), hoverinfo: "text",
          text: points.map((p) => `${label}<br>step ${p.step}<br>${interval(p)}`),
          line: { color: one.colour, dash: one.dash }, marker: { size: 4, symbol: one.symbol },
        };
        return banded.length ? [band, line] : [line];
      });
    }

    function draw() {
      const condition = form.condition.value;
      const metric = form.metric.value;
      const [traces, more] = condition === "" ? sideBySide() : rows(condition);
      testCaption.textContent = `${name}: ${metric} on test users, ` +
        `${condition || "all conditions"}; means over seeds with Student's 95 % intervals.`;
      Plotly.react(test, traces, layout(more), CONFIG);
      if (!hasCurves) return;
      const first = condition || conditions[0];
      curvesCaption.textContent = `${name}: learning curves, eCPM on validation users, ${first}` +
        `${condition ? "" : " (choose a condition to see another)"}; bands are 95 % intervals.`;
      Plotly.react(curves, learning(first), layout({
        height: 400,
        xaxis: { title: { text: "training steps" } },
        yaxis: { title: { text: "eCPM" }, automargin: true },
      }), CONFIG);
    }

    makeLegend(box.querySelector(".legend"), series, draw);
    form.addEventListener("change", draw);
    form.addEventListener("submit", (event) => event.preventDefault());
    dark.addEventListener("change", draw);
    draw();
  }

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
        for (const one of series) {
          if (one.shown) hidden.delete(one.label);
          else hidden.add(one.label);
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
      const cell = (column, row) => {
        const leads = points.filter((p) => p[x] === column && p[y] === row)
          .map((p) => p.leads[form.lead.value]);
        return leads.length
          ? estimate(leads[0].map((_, k) => leads.reduce((sum, one) => sum + one[k], 0) / leads.length))
          : null;
      };
      const cells = levels(y).map((row) => levels(x).map((column) => cell(column, row)));
      const sure = (one) => one.half !== null && Math.abs(one.mean) > one.half;
      const each = (show) => cells.map((row) => row.map((one) => (one ? show(one) : null)));
      const limit = Math.max(...finite(each((one) => Math.abs(one.mean)).flat()), 1e-9);
      const shown = (value) => value.toLocaleString("en", { maximumSignificantDigits: 6 });
      const title = form.lead.selectedOptions[0].text;
      const fixed = held.filter((axis) => form[`held-${axis}`].value !== "")
        .map((axis) => `${label(axis)} ${form[`held-${axis}`].value}`);
      caption.textContent = `${name}: eCPM, ${title}, averaged over ${points.length} conditions` +
        `${fixed.length ? ` with ${fixed.join(", ")}` : ""}; * where the 95 % interval over seeds, ` +
        "not corrected for the number of cells, leaves out 0.";
      Plotly.react(plot, [{
        type: "heatmap", z: each((one) => one.mean),
        x: levels(x).map(shown), y: levels(y).map(shown),
        text: each((one) => `${one.mean >= 0 ? "+" : "−"}${Math.abs(one.mean).toFixed(2)}` +
          `${sure(one) ? "*" : ""}`),
        texttemplate: "%{text}", hoverinfo: "text",
        hovertext: each((one) => interval(one)),
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

  function makeLegend(place, series, draw) {
    const buttons = [];
    function refresh() {
      buttons.forEach((button, k) => button.setAttribute("aria-pressed", series[k].shown));
      draw();
    }
    for (const one of series) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.setAttribute("aria-hidden", "true");
      swatch.textContent = one.glyph;
      swatch.style.color = one.colour;
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", one.shown);
      button.append(swatch, one.label);
      button.addEventListener("click", () => {
        one.shown = !one.shown;
        refresh();
      });
      buttons.push(button);
    }
    const switches = [["All", true], ["None", false]].map(([text, shown]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => {
        series.forEach((one) => { one.shown = shown; });
        refresh();
      });
      return button;
    });
    place.append(...buttons, ...switches);
  }

  // --- the table of verdicts

  function setUpFilter() {
    const form = document.getElementById("verdict-filter");
    const rows = [...document.querySelectorAll("#verdict-table tbody tr")];
    const count = document.getElementById("verdict-count");
    function narrow() {
      const text = form.text.value.trim().toLowerCase();
      for (const row of rows) {
        row.hidden = (form.verdict.value && row.dataset.verdict !== form.verdict.value) ||
          (form.experiment.value && row.dataset.experiment !== form.experiment.value) ||
          !row.textContent.toLowerCase().includes(text);
      }
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
    }
    form.addEventListener("input", narrow);
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  // --- downloads

  // Long: a row for each number of each run; those of learning curves have a step.
  function csv({ name, records }) {
    const quoted = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    const lines = [["experiment", "condition", "agent", "variant", "overrides", "seed",
      "diverged_at", "metric", "step", "value"]];
    for (const r of records) {
      const run = [name, r.condition, r.agent, r.variant, JSON.stringify(r.overrides), r.seed,
        r.diverged_at];
      for (const [metric, value] of Object.entries(r.test)) lines.push([...run, metric, null, value]);
      for (const own of ["validation", "offline"]) {
        if (r[own] !== null && r[own] !== undefined) lines.push([...run, own, null, r[own]]);
      }
      for (const [step, value] of r.curve || []) {
        lines.push([...run, "validation", step, value]);
      }
      for (const { step, ...row } of r.followed || []) {
        for (const [metric, value] of Object.entries(row)) lines.push([...run, metric, step, value]);
      }
      for (const [feature, value] of Object.entries(r.log || {})) {
        lines.push([...run, `log ${feature}`, null, value]);
      }
    }
    return lines.map((line) => line.map(quoted).join(",") + "\r\n").join("");
  }

  function setUpDownload(link) {
    // Made when it is asked for: the text is larger than what it is made from.
    link.addEventListener("click", () => {
      if (link.href.startsWith("blob:")) return;
      const experiment = report.experiments[link.dataset.experiment];
      const [text, type] = link.dataset.kind === "csv"
        ? [csv(experiment), "text/csv"]
        : [JSON.stringify(experiment.data, null, 1), "application/json"];
      link.href = URL.createObjectURL(new Blob([text], { type }));
    });
  }

  setUpFilter();
  document.querySelectorAll("a.download").forEach(setUpDownload);
  if (window.Plotly) {
    document.querySelectorAll(".map").forEach(setUpMap);
    document.querySelectorAll(".drawings").forEach(setUpDrawings);
    document.querySelectorAll(".figures").forEach(setUp);
  }
})();
