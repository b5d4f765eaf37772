// Two figures of an experiment's runs: what they earned on test users, and learning curves.

const MANY = 12; // series: of more, only the best variants are shown at first

class RunFigures {
  constructor(box) {
    const { name, records } = report.experiments[box.dataset.experiment];
    this.name = name;
    this.series = seriesOf(records);
    this.runs = grouped(records); // of a condition and a series
    this.conditions = distinct(records.map((record) => record.condition));
    this.box = box;
    this.form = box.querySelector("form");
    [this.test, this.curves] = box.querySelectorAll(".plot");
    [this.testCaption, this.curvesCaption] = box.querySelectorAll("figcaption");
    this.hasCurves = records.some((record) => record.curve && record.curve.length);
    this.learnt = records.some((record) => "return" in record.test) ? "return" : "eCPM";
    this.curves.parentElement.hidden = !this.hasCurves;
    const agents = distinct(this.series.map((series) => series.agent));
    const several = agents.length < this.series.length;
    this.form.best.parentElement.hidden = !several;
    this.form.best.checked = several && this.series.length > MANY;
  }

  // Series that are shown in a condition.
  shown(condition) {
    const there = this.series.filter((s) => s.shown && this.runs(condition, s).length);
    if (!this.form.best.checked) return there;
    const onValidation = (series) =>
      estimate(finite(this.runs(condition, series).map((record) => record.validation))).mean;
    return there.filter((series) => !this.series.some((other) =>
      other.agent === series.agent && onValidation(other) > onValidation(series)));
  }

  scores(condition, series) {
    const metric = this.form.metric.value;
    return finite(this.runs(condition, series).map((record) => record.test[metric]));
  }

  hover(condition, series) {
    const runs = this.runs(condition, series);
    const diverged = runs.filter((record) => record.diverged_at !== null).length;
    const mean = interval(estimate(this.scores(condition, series)));
    return `${escaped(series.label)}<br>${escaped(condition)}<br>${mean}` +
      (diverged ? `<br>${diverged} of ${runs.length} diverged` : "");
  }

  // A line a series over all conditions.
  sideBySide() {
    const { conditions, form } = this;
    const shown = new Map(conditions.map((condition) => [condition, this.shown(condition)]));
    const traces = this.series.filter((series) => series.shown).map((series) => {
      const points = conditions
        .filter((c) => shown.get(c).includes(series) && this.scores(c, series).length)
        .map((c) => ({ c, ...estimate(this.scores(c, series)) }));
      return {
        name: escaped(series.label), x: points.map((p) => escaped(p.c)),
        y: points.map((p) => p.mean),
        error_y: { array: points.map((p) => p.half), thickness: 1.5, width: 3 },
        text: points.map((p) => this.hover(p.c, series)), hoverinfo: "text",
        mode: "lines+markers", line: { color: series.colour, dash: series.dash },
        marker: { symbol: series.symbol, size: 8, color: series.colour },
      };
    }).filter((trace) => trace.x.length);
    return [traces, {
      height: 420,
      xaxis: { type: "category", automargin: true, tickangle: conditions.length > 3 ? -35 : 0 },
      yaxis: { title: { text: form.metric.value }, automargin: true },
    }];
  }

  // A row a series, with its interval and every seed.
  rows(condition) {
    const there = this.shown(condition).filter((s) => this.scores(condition, s).length);
    // On a phone long labels would leave no room for what they label.
    const between = this.box.clientWidth < 600 ? ",<br>" : ", ";
    const broken = (series) => escaped(series.label).replaceAll(", ", between);
    const lines = Math.max(1, ...there.map((series) => broken(series).split("<br>").length));
    return [there.flatMap((series) => this.row(condition, series, broken(series))), {
      height: 110 + (18 + 16 * lines) * Math.max(there.length, 2),
      margin: { l: 12, r: 12, t: 36, b: 48 },
      xaxis: { title: { text: this.form.metric.value } },
      yaxis: { type: "category", autorange: "reversed", automargin: true },
    }];
  }

  // Every seed faint, and their mean with its interval.
  row(condition, series, place) {
    const metric = this.form.metric.value;
    const values = this.scores(condition, series);
    const { mean, half } = estimate(values);
    const label = escaped(series.label);
    return [
      {
        name: label, x: values, y: values.map(() => place), mode: "markers",
        hoverinfo: "x+text", marker: { color: series.colour, size: 6, opacity: 0.4 },
        text: this.runs(condition, series).filter((r) => Number.isFinite(r.test[metric]))
          .map((r) => `${label}, seed ${r.seed}`),
      },
      {
        name: label, x: [mean], y: [place], mode: "markers", hoverinfo: "text",
        error_x: { array: [half], thickness: 2, width: 5, color: series.colour },
        text: [this.hover(condition, series)],
        marker: { color: series.colour, size: 11, symbol: series.symbol },
      },
    ];
  }

  // A learning curve with its band.
  learning(condition, series) {
    const runs = this.runs(condition, series).filter((r) => r.curve && r.curve.length);
    const steps = distinct(runs.flatMap((record) => record.curve.map(([step]) => step)))
      .sort((a, b) => a - b);
    const at = runs.map((record) => new Map(record.curve));
    const points = steps.map((step) => finite(at.map((curve) => curve.get(step))))
      .map((values, k) => ({ step: steps[k], values })).filter((p) => p.values.length)
      .map((p) => ({ step: p.step, ...estimate(p.values) }));
    if (!points.length) return [];
    const banded = points.filter((p) => p.half !== null);
    const label = escaped(series.label);
    const band = {
      name: label, mode: "lines", line: { width: 0 }, fill: "toself", hoverinfo: "skip",
      fillcolor: faded(series.colour),
      x: [...banded, ...[...banded].reverse()].map((p) => p.step),
      y: [...banded.map((p) => p.mean + p.half),
        ...[...banded].reverse().map((p) => p.mean - p.half)],
    };
    const line = {
      name: label, mode: "lines+markers", x: points.map((p) => p.step),
      y: points.map((p) => p.mean), hoverinfo: "text",
      text: points.map((p) => `${label}<br>step ${p.step}<br>${interval(p)}`),
      line: { color: series.colour, dash: series.dash },
      marker: { size: 4, symbol: series.symbol },
    };
    return banded.length ? [band, line] : [line];
  }

  draw() {
    const condition = this.form.condition.value;
    const [traces, more] = condition === "" ? this.sideBySide() : this.rows(condition);
    this.testCaption.textContent = `${this.name}: ${this.form.metric.value} on test users, ` +
      `${condition || "all conditions"}; means over seeds with Student's 95 % intervals.`;
    Plotly.react(this.test, traces, layout(more), CONFIG);
    if (this.hasCurves) this.drawCurves(condition);
  }

  drawCurves(condition) {
    const first = condition || this.conditions[0];
    const drawn = this.shown(first).map((series) => [series, this.learning(first, series)]);
    const traces = drawn.flatMap(([, own]) => own);
    const without = drawn.filter(([, own]) => !own.length).map(([series]) => series.label);
    this.curvesCaption.textContent =
      `${this.name}: learning curves, ${this.learnt} on validation users, ${first}` +
      `${condition ? "" : " (choose a condition to see another)"}; bands are 95 % intervals.` +
      (without.length ? ` No curves are stored of ${without.join(", ")}.` : "");
    Plotly.react(this.curves, traces, layout({
      height: 400,
      xaxis: { title: { text: "training steps" } },
      yaxis: { title: { text: this.learnt }, automargin: true },
    }), CONFIG);
  }
}

function setUpRuns(box) {
  const figures = new RunFigures(box);
  const draw = () => figures.draw();
  makeLegend(box.querySelector(".legend"), figures.series, draw);
  figures.form.addEventListener("change", draw);
  figures.form.addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", draw);
  draw();
}
