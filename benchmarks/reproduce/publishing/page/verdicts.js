// Narrows the table of verdicts to what a reader asks for.
function setUpFilter() {
  const form = document.getElementById("verdict-filter");
  if (!form) return; // a page without claims
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
