// The leaderboard's tables: a click on a heading sorts, what is typed keeps the rows that have it.
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

  const filtered = (tables) => {
    const field = document.createElement("input");
    field.type = "search";
    field.className = "filter";
    field.placeholder = "Keep rows that have: an agent, a suite, how it was tuned";
    field.setAttribute("aria-label", field.placeholder);
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const table of tables) {
        const suite = table.dataset.about;
        for (const row of table.tBodies[0].rows) {
          row.hidden = !`${suite} ${row.textContent}`.toLowerCase().includes(wanted);
        }
      }
    });
    return field;
  };

  const article = document.querySelector("article");
  if (!article || !/\/leaderboard\.html$/.test(location.pathname)) return;
  const headings = [...article.querySelectorAll("h2")];
  const tables = [...article.querySelectorAll("table")];
  for (const table of tables) {
    const before = headings.filter(
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
  if (headings.length) headings[0].before(filtered(tables));
})();
