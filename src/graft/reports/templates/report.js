// What a page does beyond standing still: sort tables, shorten long ones, answer pointing at the map. Without it everything is still there to read.
"use strict";
(() => {
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  // ---- Tables ----
  const number = (cell) => parseFloat(cell.textContent.replace(/[,\s]/g, "").replace("\u2212", "-"));
  const order = (column, numeric, sign) => (a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    if (!numeric) return sign * x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
    const [u, v] = [number(x), number(y)];
    return isNaN(u) || isNaN(v) ? isNaN(u) - isNaN(v) : sign * (u - v);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", head.textContent);
      button.type = "button";
      button.title = "Sort by " + head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort(order(column, head.classList.contains("n"), up ? 1 : -1)));
      });
    });
  }
  for (const table of document.querySelectorAll("table[data-short]")) {
    const rows = table.tBodies[0].rows.length;
    if (rows <= Number(table.dataset.short) + 3) continue;
    const style = table.dataset.short === "20" ? "short" : "shorter";
    const button = make("button", "", "more");
    button.type = "button";
    const show = (all) => {
      table.classList.toggle(style, !all);
      button.setAttribute("aria-expanded", String(all));
      button.textContent = all ? "Show fewer" : `Show all ${rows} ${table.dataset.noun}`;
    };
    button.addEventListener("click", () => show(table.classList.contains(style)));
    show(false);
    table.closest(".scroll").after(button);
  }

  // ---- Map ----
  const map = document.getElementById("vector-map");
  if (!map) return;
  const { classes, points } = JSON.parse(document.getElementById("map-data").textContent);
  const field = map.querySelector(".field");
  const tip = map.querySelector(".tip");
  const select = map.querySelector("select");
  const buttons = [...map.querySelectorAll("button[data-code]")];
  const dots = [...field.querySelectorAll("circle")];
  const at = dots.map((dot) => [parseFloat(dot.getAttribute("cx")) / 100, parseFloat(dot.getAttribute("cy")) / 100]);
  const byColumn = at.map((_, i) => i).sort((i, j) => at[i][0] - at[j][0]);
  let only = null;
  let here = null;

  const pick = (code) => {
    only = code;
    dots.forEach((dot, i) => {
      dot.classList.toggle("off", code !== null && points[i][0] !== code);
      dot.classList.toggle("picked", code !== null && points[i][0] === code);
    });
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.code) === code)));
    if (select) select.value = code === null ? "" : String(code);
    show(null);
  };

  const fill = (i) => {
    const [label, predicted, item, text, picture] = points[i];
    tip.replaceChildren();
    if (picture) {
      const image = make("img");
      image.src = picture;
      image.alt = "";
      tip.append(image);
    }
    const words = text ? make("p", text) : null;
    if (words) words.dir = "auto";
    const verdict = label === predicted ? null : make("p", "taken for " + classes[predicted], "wrong");
    const name = make("p");
    name.append(make("strong", classes[label]));
    tip.append(...[words, name, verdict, make("p", item, "id")].filter(Boolean));
  };

  const show = (i) => {
    if (here !== null) dots[here].classList.remove("here");
    here = i;
    tip.hidden = i === null;
    if (i === null) return;
    dots[i].classList.add("here");
    fill(i);
    const [width, height] = [field.clientWidth, field.clientHeight];
    const [x, y] = [at[i][0] * width, at[i][1] * height];
    const left = x + 14 + tip.offsetWidth > width ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.left = Math.max(0, Math.min(left, width - tip.offsetWidth)) + "px";
    tip.style.top = Math.max(0, Math.min(y - tip.offsetHeight / 2, height - tip.offsetHeight)) + "px";
  };

  const nearest = (event) => {
    const box = field.getBoundingClientRect();
    let best = null;
    let least = event.pointerType === "mouse" ? 18 ** 2 : 32 ** 2;
    at.forEach(([x, y], i) => {
      if (only !== null && points[i][0] !== only) return;
      const distance = (x * box.width - (event.clientX - box.left)) ** 2 + (y * box.height - (event.clientY - box.top)) ** 2;
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  };

  field.tabIndex = 0;
  field.setAttribute("role", "group");
  field.setAttribute("aria-label", "Map of the vectors: arrow keys go from item to item, Escape leaves");
  field.addEventListener("pointermove", (event) => event.pointerType === "mouse" && show(nearest(event)));
  field.addEventListener("pointerdown", (event) => show(nearest(event)));
  field.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null));
  field.addEventListener("blur", () => show(null));
  field.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(null);
    if (!step) return;
    event.preventDefault();
    const open = byColumn.filter((i) => only === null || points[i][0] === only);
    const now = open.indexOf(here);
    show(open[now < 0 ? 0 : (now + step + open.length) % open.length]);
  });
  buttons.forEach((button) => button.addEventListener("click", () => pick(Number(button.dataset.code) === only ? null : Number(button.dataset.code))));
  if (select) select.addEventListener("change", () => pick(select.value === "" ? null : Number(select.value)));
})();
