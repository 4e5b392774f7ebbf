// The table of all records: filters and sorts what stands in the page; the choice stands in its address. A figure leads
// to the records that it draws: their keys end in the hashes that stand in the address, with the figure's name. What
// many records have in common stands once, below the table; each row leads to it, and has it laid out here.
(() => {
  const root = document.querySelector(".lab-records-page");
  if (!root) return;
  const form = root.querySelector(".lab-controls"), table = root.querySelector(".lab-records");
  const rows = [...table.querySelectorAll("tr[id]")], home = rows.map((row) => row.parentElement);
  const seedOf = (row) => row.querySelector("[data-label=seed]")?.textContent ?? "";
  for (const row of rows) {
    const [first] = row.cells, links = [...first.querySelectorAll("a")], fold = document.createElement("details");
    if (!links.length) continue; // it is broken
    fold.innerHTML = "<summary>settings, data, versions</summary><ul></ul>";
    for (const link of links) {
      const shared = document.getElementById(link.hash.slice(1)).cloneNode(true);
      for (const seed of shared.querySelectorAll("var")) seed.replaceWith(seedOf(row));
      Object.assign(row.dataset, shared.dataset);
      fold.lastChild.append(...shared.children);
    }
    fold.normalize();
    first.replaceChildren(first.firstChild, fold);
  }
  root.querySelector(".lab-shared").remove();

  const flat = document.createElement("tbody"), several = new Set(["chapter", "profile"]);
  const names = [...form.querySelectorAll("select")].map((select) => select.name).filter((name) => name !== "sort");
  const words = rows.map((row) => row.textContent.toLowerCase());
  const hashes = rows.map((row) => row.id.slice(row.id.lastIndexOf("-") + 1));
  let drawn = null, figure = ""; // the hashes of one figure's records, and its name

  const kinds = new Map(rows.map((row, i) => [row, home[i].dataset.kind])); // the same where rows are sorted into one
  const fits = (row, name) => {
    const wanted = form[name].value, has = name === "kind" ? kinds.get(row) : row.dataset[name];
    return !wanted || (several.has(name) ? has.split(" ").includes(wanted) : has === wanted);
  };

  const value = (row, by) => (by === "made" ? Date.parse(row.dataset.made) : Number(row.dataset[by])) || -1;

  function order() {
    const by = form.sort.value;
    table.classList.toggle("lab-flat", Boolean(by));
    if (by) {
      flat.replaceChildren(...[...rows].sort((a, b) => value(b, by) - value(a, by)));
      table.append(flat);
    } else {
      rows.forEach((row, i) => home[i].append(row));
      flat.remove();
    }
  }

  function show(keep) {
    const asked = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, i) => {
      row.hidden = Boolean(drawn && !drawn.has(hashes[i])) || !names.every((name) => fits(row, name)) || !asked.every((word) => words[i].includes(word));
    });
    order();
    for (const body of table.tBodies) if (body !== flat) body.hidden = ![...body.rows].some((row) => row.id && !row.hidden);
    const left = rows.filter((row) => !row.hidden).length;
    const whose = drawn ? `, drawn by figure ${figure || "without a name"}` : "";
    form.querySelector("output").textContent = (left === rows.length ? `all ${left} records` : `${left} of ${rows.length} records`) + whose;
    if (!keep) remember();
  }

  function remember() {
    const state = new URLSearchParams(drawn ? { figure, records: [...drawn].join(".") } : {});
    for (const name of [...names, "text", "sort"]) if (form[name].value) state.set(name, form[name].value);
    history.replaceState(null, "", `${location.pathname}${location.search}${String(state) ? `#${state}` : ""}`);
  }

  function recall() {
    const hash = decodeURIComponent(location.hash.slice(1)), row = hash && document.getElementById(hash);
    const state = new URLSearchParams(row ? "" : location.hash.slice(1));
    for (const name of [...names, "text", "sort"]) form[name].value = state.get(name) || "";
    drawn = state.has("records") ? new Set(state.get("records").split(".")) : null;
    figure = state.get("figure") || "";
    for (const name of names) if (form[name].selectedIndex < 0) form[name].value = ""; // no such value here
    show(true);
    if (row && rows.includes(row)) {
      row.querySelector("details")?.setAttribute("open", "");
      row.scrollIntoView();
    }
  }

  async function unpack(link) {
    const packed = Uint8Array.from(atob(link.href.split(",")[1]), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const table = new Blob([await new Response(stream).arrayBuffer()], { type: "text/csv" });
    link.href = URL.createObjectURL(table);
    link.download = "records.csv";
  }

  if ("DecompressionStream" in window) unpack(root.querySelector("a[download]")); // else it is saved as it is
  form.hidden = false;
  form.addEventListener("input", () => show());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { drawn = null; show(); }));
  window.addEventListener("hashchange", recall);
  recall();
})();
