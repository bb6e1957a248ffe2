"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("skf-data").textContent);
  const columns = data.columns;
  const nRows = columns[0].values.length;
  const searched = columns.filter((column) =>
    /^(row|name|group|target|prediction|loo_prediction)(_\d+)?$/.test(column.name));
  const state = { column: 0, descending: false, query: "", page: 0, size: 25 };
  let order = [];
  let texts = null;

  const value = (column, row) =>
    column.distinct ? column.distinct[column.values[row]] : column.values[row];
  const text = (column, row) => {
    const found = value(column, row);
    if (found === null) return "\u2013";
    const tiny = column.numeric && found !== 0 && Math.abs(found) < 1e-4;
    return tiny ? found.toExponential() : String(found);
  };

  const matches = () => {
    const rows = Array.from({ length: nRows }, (_, row) => row);
    if (!state.query) return rows;
    texts = texts || rows.map((row) =>
      searched.map((column) => text(column, row)).join("\n").toLowerCase());
    return rows.filter((row) => texts[row].includes(state.query));
  };

  const compare = (column) => (a, b) => {
    const x = value(column, a), y = value(column, b);
    if (x === null || y === null) return (x === null) - (y === null);
    const found = column.numeric ? x - y : (x < y ? -1 : x > y ? 1 : 0);
    return (state.descending ? -found : found) || a - b;
  };

  const arrange = () => {
    order = matches().sort(compare(columns[state.column]));
    state.page = 0;
    draw();
  };

  const nPages = () => Math.max(Math.ceil(order.length / state.size), 1);

  const cell = (column, row, first) => {
    const found = document.createElement(first ? "th" : "td");
    if (first) found.scope = "row";
    if (column.numeric) found.className = "skf-num";
    found.textContent = text(column, row);
    return found;
  };

  const draw = () => {
    const start = state.page * state.size;
    const body = document.createDocumentFragment();
    for (const row of order.slice(start, start + state.size)) {
      const line = document.createElement("tr");
      columns.forEach((column, i) => line.append(cell(column, row, i === 0)));
      body.append(line);
    }
    byId("skf-body").replaceChildren(body);
    Array.from(byId("skf-head").children).forEach((heading, i) => {
      const direction = state.descending ? "descending" : "ascending";
      heading.setAttribute("aria-sort", i === state.column ? direction : "none");
    });
    const pages = nPages();
    byId("skf-count").textContent =
      `${order.length.toLocaleString("en")} of ${nRows.toLocaleString("en")} rows`;
    byId("skf-page").textContent = `Page ${state.page + 1} of ${pages}`;
    byId("skf-first").disabled = byId("skf-previous").disabled = state.page === 0;
    byId("skf-next").disabled = byId("skf-last").disabled = state.page === pages - 1;
  };

  const turn = (page) => () => { state.page = page(); draw(); };

  columns.forEach((column, i) => {
    const heading = document.createElement("th");
    heading.scope = "col";
    heading.title = column.meaning;
    if (column.numeric) heading.className = "skf-num";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.label;
    button.addEventListener("click", () => {
      state.descending = i === state.column && !state.descending;
      state.column = i;
      arrange();
    });
    heading.append(button);
    byId("skf-head").append(heading);
  });
  byId("skf-search").addEventListener("input", (event) => {
    state.query = event.target.value.trim().toLowerCase();
    arrange();
  });
  byId("skf-size").addEventListener("change", (event) => {
    state.size = Number(event.target.value);
    state.page = 0;
    draw();
  });
  byId("skf-first").addEventListener("click", turn(() => 0));
  byId("skf-previous").addEventListener("click", turn(() => Math.max(state.page - 1, 0)));
  byId("skf-next").addEventListener("click", turn(() => Math.min(state.page + 1, nPages() - 1)));
  byId("skf-last").addEventListener("click", turn(() => nPages() - 1));

  state.column = Math.max(columns.findIndex((column) => column.name === data.sort), 0);
  byId("skf-table").hidden = false;
  arrange();
})();
