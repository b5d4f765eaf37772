// Makes an experiment's numbers a file, when a reader asks for it.

// What begins so is a formula to a spreadsheet, unless it is a number.
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

// Text that no spreadsheet runs: names come from whoever made the results.
function plain(value) {
  return typeof value === "string" && FORMULA.test(value) && !NUMBER.test(value)
    ? `'${value}` : value;
}

// Long: a row for each number of each run; those of learning curves have a step.
function csv({ name, records }) {
  const quoted = (value) => {
    const text = value === null ? "" : String(plain(value));
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
