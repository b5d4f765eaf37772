// The leaderboard's tables: a click on a heading sorts; choices, and what is typed, keep the rows
// that have them.
(() => {
  const number = (text) => {
    const found = text.match(/^\s*[-+−]?[\d.,]+/);
    return found ? Number(found[0].replace("−", "-").replaceAll(",", "")) : NaN;
  };
  const text = (row, column) => row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };

  const sort = (table, column) => {
    const heading = table.tHead.rows[0].cells[column];
    const down = heading.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => compare(text(a, column), text(b, column)));
    body.append(...(down ? rows.reverse() : rows));
  };

  // Columns whose values are the rules by which entries are told apart.
  const RULES = ["offline", "tuned by", "reads"];
  const headings = (table) =>
    [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  // What a row is searched by: commands name this package, as agents' names do.
  const told = (row, columns) =>
    columns.map((name, k) => (name === "made by" ? "" : text(row, k))).join(" ");
  // A suite's heading and what stands below it.
  const section = (heading) => {
    const nodes = [heading];
    for (let n = heading.nextElementSibling; n && n.tagName !== "H2"; n = n.nextElementSibling) {
      nodes.push(n);
    }
    return nodes;
  };

  const select = (name, values) => {
    const label = document.createElement("label");
    label.append(name);
    const field = document.createElement("select");
    field.className = "filter";
    field.dataset.filter = name;
    field.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
    label.append(field);
    return [label, field];
  };

  const filters = (tables, suites) => {
    const form = document.createElement("form");
    form.className = "filters";
    form.addEventListener("submit", (event) => event.preventDefault());
    const [place, suite] = select("suite", suites.map((heading) => heading.id));
    const rules = RULES.map((name) => {
      const there = tables.flatMap((table) => {
        const column = headings(table).indexOf(name);
        return column < 0 ? [] : [...table.tBodies[0].rows].map((row) => text(row, column));
      });
      return [name, ...select(name, [...new Set(there)].sort())];
    });
    const field = document.createElement("input");
    field.type = "search";
    field.className = "filter";
    field.placeholder = "Keep rows that have: an agent, a suite, how it was tuned";
    field.setAttribute("aria-label", field.placeholder);
    const count = document.createElement("output");
    const narrow = () => {
      const wanted = field.value.trim().toLowerCase();
      let kept = 0;
      for (const heading of suites) {
        for (const node of section(heading)) {
          node.hidden = Boolean(suite.value) && suite.value !== heading.id;
        }
      }
      for (const table of tables) {
        const about = table.dataset.about;
        const columns = headings(table);
        for (const row of table.tBodies[0].rows) {
          row.hidden = (suite.value && suite.value !== about) ||
            rules.some(([name, , rule]) =>
              rule.value && text(row, columns.indexOf(name)) !== rule.value) ||
            !`${about} ${told(row, columns)}`.toLowerCase().includes(wanted);
          kept += !row.hidden;
        }
      }
      count.textContent = `${kept} ${kept === 1 ? "entry" : "entries"}`;
    };
    form.addEventListener("input", narrow);
    form.append(place, ...rules.map(([, label]) => label), field, count);
    narrow();
    return form;
  };

  const article = document.querySelector("article");
  if (!article || !/\/leaderboard\.html$/.test(location.pathname)) return;
  const suites = [...article.querySelectorAll("h2")];
  const tables = [...article.querySelectorAll("table")];
  for (const table of tables) {
    const before = suites.filter(
      (heading) => heading.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING,
    );
    table.dataset.about = before.length ? before.at(-1).id : "";
    table.dataset.sortable = "";
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      heading.tabIndex = 0;
      heading.addEventListener("click", () => sort(table, column));
      heading.addEventListener("keydown", (event) => {
        if (event.key === "Enter") sort(table, column);
      });
    });
  }
  if (suites.length) suites[0].before(filters(tables, suites));
})();
