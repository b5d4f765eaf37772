// Two figures of an experiment's runs: what they earned on test users, and learning curves.

const MANY = 12; // series: of more, only the best variants are shown at first

function setUpRuns(box) {
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
