// The report's data, and means over seeds with their intervals.
const report = JSON.parse(document.getElementById("report-data").textContent);

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
