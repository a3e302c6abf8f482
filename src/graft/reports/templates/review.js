// Judging doubted labels: one suspect at a time, every answer kept in the browser at once, saved as a file when asked.
"use strict";
(() => {
  const source = document.getElementById("data");
  const { key, name, source: from, classes, cards, looks } = JSON.parse(source.textContent);
  if (!cards.length) return;
  const at = (id) => document.getElementById(id);
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const percent = (share) => (share < 0.005 ? "<1" : share > 0.995 ? ">99" : Math.round(100 * share)) + "\u202f%";

  // ---- Answers: pairs (position, label) in the order they were given; the last for a position counts ----
  let answers = [];
  let current = 0;
  let kept = true;
  const known = (pair) => Array.isArray(pair) && cards[pair[0]] && classes.includes(pair[1]);
  try {
    const before = JSON.parse(localStorage.getItem(key) || "[]");
    if (Array.isArray(before)) answers = before.filter(known);
  } catch { kept = false; }
  const remember = () => {
    try { localStorage.setItem(key, JSON.stringify(answers)); kept = true; } catch { kept = false; }
    at("forgetful").hidden = kept;
  };
  const decided = () => new Map(answers);

  // ---- What is to be seen ----
  const item = (look, id, side) => {
    if (look.picture) {
      const picture = make("img");
      picture.src = look.picture;
      picture.alt = picture.title = id;
      return picture;
    }
    const words = make("p", look.text || id);
    words.dir = "auto";
    words.title = id;
    if (side) words.className = side;
    return words;
  };
  const buttons = cards.map((card, position) => {
    const row = make("li");
    const button = make("button");
    button.type = "button";
    button.append(make("span", "", "dot"), make("span", card.text ? card.text.slice(0, 80) : card.item));
    button.title = card.item;
    button.addEventListener("click", () => show(position));
    row.append(button);
    at("list").append(row);
    return button;
  });
  for (const label of ["", ...classes]) {
    const option = make("option", label || "choose a label");
    option.value = label;
    at("other").append(option);
  }

  const show = (position) => {
    current = position;
    const card = cards[position];
    const answer = decided().get(position);
    at("where").textContent = `${position + 1} of ${cards.length} · ${card.item}`;
    at("item").replaceChildren(item(card, card.item));
    for (const [side, label] of [["given", card.given], ["suggested", card.suggested]]) at(side).textContent = label;
    at("oddsGiven").textContent = ` (${percent(card.pGiven)})`;
    at("oddsSuggested").textContent = ` (${percent(card.pSuggested)})`;
    at("keepName").textContent = at("nearGivenName").textContent = card.given;
    at("takeName").textContent = at("nearSuggestedName").textContent = card.suggested;
    for (const side of ["nearGiven", "nearSuggested"]) {
      const rows = card[side].map((id) => {
        const row = make("li");
        row.append(item(looks[id], id));
        return row;
      });
      if (!rows.length) rows.push(make("li", "none that is not doubted itself"));
      at(side).replaceChildren(...rows);
    }
    at("keep").setAttribute("aria-pressed", String(answer === card.given));
    at("take").setAttribute("aria-pressed", String(answer === card.suggested));
    at("other").value = answer !== undefined && answer !== card.given && answer !== card.suggested ? answer : "";
    mark();
  };
  const mark = () => {
    const found = decided();
    buttons.forEach((button, position) => {
      const answer = found.get(position);
      const changed = answer !== undefined && answer !== cards[position].given;
      button.setAttribute("aria-current", String(position === current));
      button.classList.toggle("changed", changed);
      button.firstChild.textContent = answer === undefined ? "·" : changed ? "→" : "✓";
    });
    const list = at("list");
    const row = buttons[current].parentElement;
    if (row.offsetTop < list.scrollTop + list.offsetTop || row.offsetTop > list.scrollTop + list.offsetTop + list.clientHeight - row.offsetHeight)
      list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 2;
    const changes = [...found].filter(([position, label]) => label !== cards[position].given).length;
    const all = found.size === cards.length ? ": save the answers" : "";
    at("done").textContent = `${found.size} of ${cards.length} judged, ${changes} changed${all}`;
    at("bar").style.width = `${(100 * found.size) / cards.length}%`;
    at("undo").disabled = !answers.length;
  };

  // ---- What can be done ----
  const step = (by) => show(Math.min(cards.length - 1, Math.max(0, current + by)));
  const answer = (label) => {
    answers.push([current, label]);
    remember();
    const found = decided();
    const open = cards.map((_, position) => position).filter((position) => !found.has(position));
    show(open.find((position) => position > current) ?? open[0] ?? current);
  };
  const undo = () => {
    if (!answers.length) return;
    const [position] = answers.pop();
    remember();
    show(position);
  };
  const save = () => {
    const judged = [...decided()].sort((a, b) => a[0] - b[0]);
    const tree = {
      kind: "graft label corrections",
      schema: 1,
      name,
      source: from,
      corrections: judged.map(([position, label]) => ({ item: cards[position].item, given: cards[position].given, label })),
    };
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(tree, null, 1) + "\n"], { type: "application/json" }));
    link.download = `${name.replace(/[^\w.-]+/g, "-")}-corrections.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    at("file").textContent = link.download;
    at("how").open = true;
  };
  at("keep").addEventListener("click", () => answer(cards[current].given));
  at("take").addEventListener("click", () => answer(cards[current].suggested));
  at("other").addEventListener("change", (event) => {
    if (event.target.value) answer(event.target.value);
    event.target.blur();
  });
  at("skip").addEventListener("click", () => step(1));
  at("undo").addEventListener("click", undo);
  at("save").addEventListener("click", save);
  const keys = {
    ArrowLeft: () => answer(cards[current].given),
    ArrowRight: () => answer(cards[current].suggested),
    ArrowUp: () => step(-1),
    ArrowDown: () => step(1),
    o: () => at("other").focus(),
    u: undo,
    d: save,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || event.repeat && event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    act();
  });
  at("forgetful").hidden = kept;
  const first = cards.findIndex((_, position) => !decided().has(position));
  show(first < 0 ? 0 : first);
})();
