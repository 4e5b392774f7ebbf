// The table of all claims: filters and sorts what stands in the page; the choice stands in its address.
(() => {
  const root = document.querySelector(".lab-claims-page");
  if (!root) return;
  const form = root.querySelector(".lab-controls"), table = root.querySelector(".lab-board");
  const rows = [...table.querySelectorAll("tr[id]")], home = rows.map((row) => row.parentElement);
  const flat = document.createElement("tbody"), chosen = new Set();
  const opened = new Set(), narrow = matchMedia("(max-width: 700px)");
  const said = (row, name) => row.dataset[name];

  const buttons = [...root.querySelectorAll(".lab-squares li")].map((item) => {
    const button = document.createElement("button"), name = item.querySelector(".lab-word");
    button.type = "button";
    button.innerHTML = name.innerHTML;
    button.dataset.word = item.dataset.word;
    button.addEventListener("click", () => {
      if (!chosen.delete(item.dataset.word)) chosen.add(item.dataset.word);
      show();
    });
    name.replaceChildren(button);
    return button;
  });

  // On a narrow page the claims of a chapter are folded under its name, which says how they came out.
  const folds = new Map([...table.querySelectorAll(".lab-chapter")].map((head) => {
    const body = head.parentElement, button = document.createElement("button");
    Object.assign(button, { type: "button", className: "lab-fold" });
    button.setAttribute("aria-label", `Claims of ${head.querySelector("th").firstChild.textContent.trim()}`);
    button.addEventListener("click", () => {
      if (!opened.delete(body)) opened.add(body);
      fold();
    });
    head.querySelector("th").prepend(button);
    return [body, button];
  }));

  function fold() {
    const chosenSome = chosen.size || form.own.checked || ["source", "chapter", "sort"].some((name) => form[name].value);
    for (const [body, button] of folds) {
      const shut = narrow.matches && !chosenSome && !opened.has(body);
      body.classList.toggle("lab-shut", shut);
      button.setAttribute("aria-expanded", !shut);
    }
  }

  const shows = (row) =>
    (!chosen.size || chosen.has(said(row, "word"))) &&
    (!form.source.value || said(row, "source").split(" ").includes(form.source.value)) &&
    (!form.chapter.value || said(row, "chapter") === form.chapter.value) &&
    (!form.own.checked || said(row, "own") === "1");

  function order() {
    const by = form.sort.value;
    table.classList.toggle("lab-flat", Boolean(by));
    if (by) {
      flat.replaceChildren(...[...rows].sort((a, b) => said(b, by) - said(a, by)));
      table.append(flat);
    } else {
      rows.forEach((row, i) => home[i].append(row));
      flat.remove();
    }
  }

  function show(keep) {
    for (const row of rows) row.hidden = !shows(row);
    order();
    for (const body of table.tBodies)
      if (body !== flat && !body.matches(".lab-question")) body.hidden = ![...body.rows].some((row) => row.id && !row.hidden);
    for (const body of table.querySelectorAll(".lab-question")) {
      let next = body.nextElementSibling;
      while (next && !next.matches(".lab-question") && next.hidden) next = next.nextElementSibling;
      body.hidden = !next || next === flat || next.matches(".lab-question");
    }
    for (const button of buttons) button.setAttribute("aria-pressed", chosen.has(button.dataset.word));
    fold();
    const left = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = left === rows.length ? `all ${left} claims` : `${left} of ${rows.length} claims`;
    if (!keep) remember();
  }

  function remember() {
    const state = new URLSearchParams();
    if (chosen.size) state.set("word", [...chosen].join(","));
    for (const name of ["source", "chapter", "sort"]) if (form[name].value) state.set(name, form[name].value);
    if (form.own.checked) state.set("own", "1");
    history.replaceState(null, "", `${location.pathname}${location.search}${String(state) ? `#${state}` : ""}`);
  }

  function recall() {
    const hash = decodeURIComponent(location.hash.slice(1)), row = hash && document.getElementById(hash);
    const state = new URLSearchParams(row ? "" : location.hash.slice(1));
    chosen.clear();
    for (const word of (state.get("word") || "").split(",").filter(Boolean)) chosen.add(word);
    for (const name of ["source", "chapter", "sort"]) form[name].value = state.get(name) || "";
    form.own.checked = state.get("own") === "1";
    if (row) opened.add(row.parentElement);
    show(true);
    if (row) {
      row.querySelector("details").open = true;
      row.scrollIntoView();
    }
  }

  form.hidden = false;
  narrow.addEventListener("change", fold);
  form.addEventListener("change", () => show());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { chosen.clear(); show(); }));
  window.addEventListener("hashchange", recall);
  recall();
})();
