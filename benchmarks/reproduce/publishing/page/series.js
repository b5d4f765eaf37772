// Agents and their variants as series: how each is named and drawn, and which runs it has.

// Okabe and Ito's colours, which colour-blind readers can tell apart; grey suits both themes.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#888888"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "star"];
const GLYPHS = ["●", "■", "◆", "▲", "✖", "★"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

// Agents and their variants are series, in the order of the records.
function seriesOf(records) {
  const variants = new Map();
  for (const record of records) {
    if (!variants.has(record.agent)) variants.set(record.agent, new Map());
    variants.get(record.agent).set(record.variant, record.overrides);
  }
  const series = [];
  for (const [agent, all] of variants) {
    for (const [variant, overrides] of all) {
      const own = Object.entries(overrides).map(([name, value]) => `${name}=${value}`);
      const label = all.size === 1 ? agent : `${agent} (${own.join(", ") || "defaults"})`;
      const k = series.length;
      const turn = Math.floor(k / COLOURS.length);
      series.push({
        agent, variant, label, shown: true,
        colour: COLOURS[k % COLOURS.length],
        symbol: SYMBOLS[turn % SYMBOLS.length],
        glyph: GLYPHS[turn % GLYPHS.length],
        dash: DASHES[turn % DASHES.length],
      });
    }
  }
  return series;
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
