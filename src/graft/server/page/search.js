// Search: the URL holds the query, one function draws it, and every change of the query goes through `go`.

import { $, Refused, ask, busy, icon, links, make, number, percent, pictureIn, send, sendPicture, served } from "./parts.js";

const STEP = 24, MOST = 480;
let indexes = [], index, query, hits = [], asked, picture = null, here = -1, shownAt = -1;

// ---- The query and its address ----

const empty = () => ({ index: index?.name, q: "", like: [], unlike: [], where: "", k: STEP });

function fromAddress() {
  const given = new URLSearchParams(location.search);
  return { ...empty(), index: given.get("index") || indexes[0].name, q: given.get("q") || "", like: given.getAll("like"),
    unlike: given.getAll("unlike"), where: given.get("where") || "", k: Math.min(MOST, Number(given.get("k")) || STEP) };
}

function address({ index, q, like, unlike, where, k }) {
  const told = new URLSearchParams();
  if (indexes.length > 1) told.set("index", index);
  if (q) told.set("q", q);
  like.forEach((id) => told.append("like", id));
  unlike.forEach((id) => told.append("unlike", id));
  if (where) told.set("where", where);
  if (k !== STEP) told.set("k", k);
  return told.size ? `/?${told}` : "/";
}

const asks = () => Boolean(query.q || query.like.length || picture);

function go(change, { replace = false } = {}) {
  query = { ...query, ...change };
  history[replace ? "replaceState" : "pushState"](null, "", address(query));
  draw();
}

function set(name, id) {
  const other = name === "like" ? "unlike" : "like";
  const without = (list) => list.filter((each) => each !== id);
  if ($("detail").open) $("detail").close();
  go({ [name]: [...without(query[name]), id], [other]: without(query[other]), k: STEP });
}

// ---- Drawing ----

async function draw() {
  index = indexes.find((each) => each.name === query.index) || indexes[0];
  $("index").value = index.name;
  $("q").value = query.q;
  $("clear").hidden = !query.q;
  $("where").value = query.where;
  $("q").placeholder = window.innerWidth < 560 ? "Search" : hint();
  $("upload").hidden = index.modality === "text";
  document.title = (query.q || "Search") + " · Graft";
  $("facts").textContent = `${index.name}: ${number(index.items)} items, version ${index.version}` + (index.trouble ? ` (a newer version cannot be served: ${index.trouble})` : "");
  if (query.where) openFilters(true);
  drawChips();
  drawColumns();
  await search();
}

const kind = () => (index.modality === "text" ? "texts" : index.modality === "vector" ? "items" : "pictures");
const hint = () => `Search ${number(index.items)} ${kind()}` + (index.modality === "text" ? "" : ", or drop a picture");

function drawChips() {
  const chip = (name, id, word) => make("li", { className: `chip ${name}` },
    ...(index.modality === "text" ? [] : [make("img", { src: source(id), alt: "" })]),
    make("span", {}, make("b", { textContent: word }), ` ${id}`),
    make("button", { type: "button", title: "Remove", ariaLabel: `Remove ${id}`,
      onclick: () => go({ [name]: query[name].filter((each) => each !== id) }) }, icon("close")));
  const chips = [...query.like.map((id) => chip("like", id, "more like")), ...query.unlike.map((id) => chip("unlike", id, "less like"))];
  if (picture) {
    chips.unshift(make("li", { className: "chip like" }, make("img", { src: picture.url, alt: "" }),
      make("span", {}, make("b", { textContent: "like your picture" })),
      make("button", { type: "button", title: "Remove", ariaLabel: "Remove your picture", onclick: () => { drop(null); go({}); } }, icon("close"))));
  }
  $("chips").replaceChildren(...chips);
}

async function drawColumns() {
  const names = Object.keys(index.columns);
  if (!names.length) {
    $("columns").replaceChildren("This index has no columns to filter by.");
    return;
  }
  const { items } = await samples();
  const examples = names.map((name) => example(name, index.columns[name], items.map((item) => item.payload[name])));
  const fill = (text) => make("button", { type: "button", textContent: text, onclick: () => {
    $("where").value = $("where").value.trim() ? `${$("where").value.trim()} AND ${text}` : text;
    $("where").focus();
  } });
  $("columns").replaceChildren("For example ", ...examples.slice(0, 12).map(fill));
}

function example(name, type, values) {
  const column = /^[a-z_][a-z0-9_]*$/i.test(name) ? name : `\`${name}\``;
  const known = values.filter((value) => value !== null && value !== undefined);
  if (/int|float|double|decimal/.test(type)) {
    const sorted = known.map(Number).sort((a, b) => a - b);
    return `${column} >= ${sorted.length ? sorted[Math.floor(sorted.length / 2)] : 0}`;
  }
  if (/bool/.test(type)) return `${column} = true`;
  const text = String(known.sort((a, b) => String(a).length - String(b).length)[0] ?? "…").slice(0, 40);
  return `${column} = '${text.replaceAll("'", "''")}'`;
}

const sampled = new Map();
const samples = () => {
  const key = `${index.name} ${index.version}`;
  if (!sampled.has(key)) sampled.set(key, ask(`${base()}/items?count=12`).catch(() => ({ items: [] })));
  return sampled.get(key);
};

const base = () => `/v1/indexes/${encodeURIComponent(index.name)}`;
const itemPath = (id) => `${base()}/items/${encodeURIComponent(id)}`;
const source = (id, size = "small") => `${itemPath(id)}/picture?size=${size}&v=${index.version}`;

async function search() {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  $("whereError").hidden = true;
  $("where").removeAttribute("aria-invalid");
  $("message").hidden = true;
  if (!asks()) {
    busy(false);
    return drawStart();
  }
  busy(true);
  $("hits").classList.add("old");
  const where = query.where || undefined;
  const tree = { text: query.q || undefined, like: query.like, unlike: query.unlike, where, k: query.k };
  try {
    const started = performance.now();
    const found = picture ? await sendPicture(`${base()}/search/upload`, picture.file, { where, k: query.k }, signal)
      : await send(`${base()}/search`, tree, signal);
    drawFound(found, performance.now() - started);
  } catch (error) {
    if (error.name !== "AbortError") drawFailure(error);
  } finally {
    if (asked.signal === signal) busy(false);
  }
}

function drawFound(found, milliseconds) {
  const grew = hits.length && found.hits.length > hits.length && hits.every((hit, i) => hit.id === found.hits[i].id);
  const kept = grew ? hits.length : 0;
  hits = found.hits;
  $("start").hidden = true;
  $("hits").classList.remove("old");
  $("hits").className = `hits ${index.modality === "text" || index.modality === "vector" ? "list" : "grid"}`;
  if (!kept) { $("hits").replaceChildren(); here = -1; }
  $("hits").append(...hits.slice(kept).map((hit, i) => card(hit, kept + i)));
  $("hits").classList.toggle("unmatched", !found.matched);
  if (hits.length) tabTo(Math.max(0, here), false);
  $("more").hidden = !found.matched || hits.length < query.k || query.k >= MOST;
  const took = `${Math.max(1, Math.round(milliseconds))} ms`;
  $("status").textContent = found.matched ? `${number(hits.length)} of ${number(found.items)} · ${took}` : "";
  if (!found.matched) {
    const filtered = query.where ? " Perhaps the filter leaves too little." : " Try other words, or start from an item that is close.";
    say("Nothing matches", (hits.length ? "These come nearest, but no nearer than chance." : "") + filtered, "calm");
  }
  if (found.note) $("status").append(make("span", { className: "note", textContent: found.note }));
}

function drawFailure(error) {
  $("hits").classList.remove("old");
  if (error.status === 400 && query.where && !picture) {
    openFilters(true);
    $("whereError").textContent = error.message;
    $("whereError").hidden = false;
    $("where").setAttribute("aria-invalid", "true");
    return;
  }
  hits = [];
  $("hits").replaceChildren();
  $("more").hidden = true;
  $("status").textContent = "";
  $("start").hidden = true;
  say(error instanceof Refused && error.status === 503 ? "The server is busy" : "That did not work", error.message, "wrong");
}

function say(head, text, className) {
  $("message").className = `message ${className}`;
  $("message").replaceChildren(make("h2", { textContent: head }), make("p", { textContent: text }));
  $("message").hidden = false;
}

const COMMON = new Set("about after and are but for from has have her his how into its like more not off one our out over she some than that the their them then there these they this too under was were what when where which who will with you your".split(" "));

function words() {
  const said = query.q.toLowerCase().match(/[\p{L}\p{N}]{3,}/gu) || [];
  return [...new Set(said)].filter((word) => !COMMON.has(word));
}

function marked(text) {
  const wanted = words();
  if (!wanted.length) return [text];
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(${wanted.join("|")})`, "giu");  // at the beginning of a word
  return text.split(pattern).map((part, i) => (i % 2 ? make("mark", { textContent: part }) : part));
}

function meter(hit) {
  const level = make("span");
  level.style.width = `${Math.round(100 * Math.min(1, Math.max(0.02, hit.confidence)))}%`;
  return make("span", { className: "meter", title: `score ${hit.score.toFixed(3)}; stands out ${percent(hit.confidence)}` }, level);
}

const shortName = (id) => id.split("/").pop();

function card(hit, position) {
  const label = `${hit.content || hit.id}, stands out ${percent(hit.confidence)}`.slice(0, 200);
  const open = make("button", { type: "button", className: "open", tabIndex: -1, ariaLabel: label, onclick: () => show(position) });
  open.dataset.position = position;
  open.addEventListener("focus", () => tabTo(position, false));
  if (index.modality === "text" || index.modality === "vector") {
    open.append(make("span", { className: "words" }, ...marked(hit.content || hit.id)));
    const facts = Object.entries(hit.payload).filter(([, value]) => value !== null && value !== hit.content && String(value).length < 60).slice(0, 4);
    open.append(make("span", { className: "under" }, meter(hit), make("span", { className: "id", textContent: hit.id }),
      ...facts.map(([name, value]) => make("span", { className: "fact" }, make("span", { textContent: name }), ` ${value}`))));
  } else {
    const image = make("img", { src: source(hit.id), alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => { image.replaceWith(make("span", { className: "gone", textContent: "The picture is no longer there" })); });
    open.append(image, make("span", { className: "under" }, make("span", { className: "id", textContent: shortName(hit.id) }), meter(hit)));
  }
  return make("li", {}, open, make("span", { className: "acts" }, act("like", hit.id), act("unlike", hit.id)));
}

function act(name, id) {
  const text = name === "like" ? "More like this" : "Less like this";
  return make("button", { type: "button", className: `act ${name}`, title: `${text} (${name === "like" ? "M" : "L"})`, ariaLabel: `${text}: ${id}`,
    tabIndex: -1, onclick: () => set(name, id) }, icon(name === "like" ? "more" : "less"));
}

// ---- Before the first search ----

async function drawStart() {
  hits = [];
  here = -1;
  $("hits").replaceChildren();
  $("more").hidden = true;
  $("status").textContent = "";
  const { items } = await samples();
  if (asks()) return;
  const shown = items.slice(0, index.modality === "text" ? 4 : 12);
  const start = (text) => make("li", {}, make("button", { type: "button", className: "quiet", textContent: text, onclick: () => go({ q: text }) }));
  const ways = [["Words", index.modality === "text" ? "Say what it is about; the words need not be the same." : "Say what is to be seen."],
    ["Examples", "Every item has more like this and less like this. They add up."],
    index.modality === "text" ? ["Filters", "Narrow a search down by the columns of your table."] : ["A picture", "Drop one anywhere, paste it, or choose a file."]];
  const suggestions = suggested(items);
  const named = (item) => (index.modality === "text"
    ? make("button", { type: "button", className: "sample", onclick: () => set("like", item.id) }, make("span", { className: "words", textContent: item.content || item.id }))
    : make("button", { type: "button", className: "sample", ariaLabel: `More like ${item.id}`, onclick: () => set("like", item.id) }, make("img", { src: source(item.id), alt: "", loading: "lazy" })));
  $("start").replaceChildren(
    make("h2", { textContent: hint().replace(", or drop a picture", "") }),
    make("dl", { className: "ways" }, ...ways.flatMap(([term, text]) => [make("div", {}, make("dt", { textContent: term }), make("dd", { textContent: text }))])),
    ...(suggestions.length ? [make("h3", { textContent: "Try" }), make("ul", { className: "tries" }, ...suggestions.map(start))] : []),
    ...(shown.length ? [make("h3", { textContent: "Or start from one of these" }), make("ul", { className: `samples ${index.modality === "text" ? "list" : "grid"}` }, ...shown.map((item) => make("li", {}, named(item))))] : []));
  $("start").hidden = false;
}

function suggested(items) {
  if (!index.views.length || index.modality === "vector") return [];
  const texts = index.modality === "text" ? items.map((item) => item.content.split(/\s+/).slice(0, 5).join(" "))
    : items.map((item) => String(item.payload.label ?? item.payload.class ?? "").replace(/[_-]+/g, " ").split(",")[0]);
  return [...new Set(texts.map((text) => text.replace(/[.,;:!?]+$/, "").trim()))].filter((text) => text.length > 2 && text.length < 48).slice(0, 5);
}

// ---- One item ----

function show(position) {
  const hit = hits[position];
  if (!hit) return;
  shownAt = position;
  const rows = Object.entries(hit.payload).filter(([, value]) => value !== null);
  const body = index.modality === "text" || index.modality === "vector" ? make("p", { className: "full", textContent: hit.content })
    : make("img", { className: "large", src: source(hit.id, "large"), alt: hit.id });
  const button = (name, text, action) => make("button", { type: "button", className: "quiet", onclick: action }, icon(name), text);
  const step = (name, text, change) => make("button", { type: "button", className: "tool", title: text, ariaLabel: text, disabled: !hits[position + change], onclick: () => show(position + change) }, icon(name));
  $("detail").replaceChildren(
    make("header", {}, step("left", "The hit before", -1), step("right", "The next hit", 1), make("h2", { id: "detailTitle", tabIndex: -1, textContent: hit.id }),
      make("button", { type: "button", className: "tool", title: "Close (Esc)", ariaLabel: "Close", onclick: () => $("detail").close() }, icon("close"))),
    make("div", { className: "inside" }, body,
      make("div", {},
        make("p", { className: "sure" }, meter(hit), `score ${hit.score.toFixed(3)}, stands out ${percent(hit.confidence)}`),
        make("p", { className: "buttons" }, button("more", "More like this", () => set("like", hit.id)), button("less", "Less like this", () => set("unlike", hit.id))),
        make("dl", { className: "payload" }, ...rows.map(([name, value]) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: typeof value === "object" ? JSON.stringify(value) : value })))))));
  if (!$("detail").open) $("detail").showModal();
  $("detailTitle").focus();
}

// ---- Keyboard ----

const openers = () => [...$("hits").querySelectorAll(".open")];

function tabTo(position, focus = true) {
  const all = openers();
  if (!all[position]) return;
  all[here]?.setAttribute("tabindex", -1);
  here = position;
  all[position].tabIndex = 0;
  if (focus) all[position].focus();
}

function columnsInGrid(all) {
  const top = all[0].getBoundingClientRect().top;
  const next = all.findIndex((each) => each.getBoundingClientRect().top > top + 1);
  return next < 0 ? all.length : next;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(input|textarea|select)$/i.test(document.activeElement.tagName);
  if ($("detail").open) {
    const change = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (change) show(shownAt + change);
    else if (event.key === "m") set("like", hits[shownAt].id);
    else if (event.key === "l") set("unlike", hits[shownAt].id);
    return;
  }
  if (event.key === "/" && !typing) { event.preventDefault(); $("q").focus(); $("q").select(); return; }
  if (event.key === "Escape" && typing) { document.activeElement.blur(); return; }
  const all = openers();
  if (event.key === "ArrowDown" && document.activeElement === $("q") && all.length) { event.preventDefault(); tabTo(0); return; }
  if (typing || !all.length) return;
  const inHits = document.activeElement.classList.contains("open");
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columnsInGrid(all), ArrowDown: columnsInGrid(all) };
  if (event.key in steps && (inHits || event.key !== "ArrowUp")) {
    event.preventDefault();
    if (inHits && event.key === "ArrowUp" && here + steps.ArrowUp < 0) $("q").focus();
    else tabTo(inHits ? Math.min(all.length - 1, Math.max(0, here + steps[event.key])) : Math.max(0, here));
  } else if (inHits && event.key === "m") set("like", hits[here].id);
  else if (inHits && event.key === "l") set("unlike", hits[here].id);
}

// ---- Pictures from outside ----

function drop(file) {
  if (picture) URL.revokeObjectURL(picture.url);
  picture = file ? { file, url: URL.createObjectURL(file) } : null;
}

function searchPicture(file) {
  $("drop").hidden = true;
  if (!file || index.modality === "text") return;
  drop(file);
  go({ q: "", like: [], unlike: [], k: STEP });
}

// ---- Wiring ----

function openFilters(open) {
  $("filters").hidden = !open;
  $("filter").setAttribute("aria-expanded", open);
}

function submit(event) {
  event.preventDefault();
  const q = $("q").value.trim();
  if (q) drop(null);
  go({ q, where: $("where").value.trim(), k: STEP });
  if (matchMedia("(pointer: coarse)").matches) $("q").blur();
}

function listen() {
  $("form").addEventListener("submit", submit);
  $("where").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); $("form").requestSubmit(); } });
  $("q").addEventListener("input", () => { $("clear").hidden = !$("q").value; });
  $("clear").addEventListener("click", () => { $("q").value = ""; $("clear").hidden = true; if (query.q) go({ q: "", k: STEP }); $("q").focus(); });
  $("filter").addEventListener("click", () => { openFilters($("filters").hidden); if (!$("filters").hidden) $("where").focus(); });
  $("more").addEventListener("click", () => go({ k: Math.min(MOST, query.k + STEP) }, { replace: true }));
  $("index").addEventListener("change", () => { drop(null); go({ ...empty(), index: $("index").value }); });
  $("file").addEventListener("change", () => { searchPicture($("file").files[0]); $("file").value = ""; });
  $("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
  $("detail").addEventListener("close", () => tabTo(shownAt));
  document.addEventListener("keydown", onKey);
  document.addEventListener("paste", (event) => { const file = pictureIn(event.clipboardData.files); if (file) { event.preventDefault(); searchPicture(file); } });
  document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").hidden = index.modality === "text"; });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  document.addEventListener("drop", (event) => { event.preventDefault(); searchPicture(pictureIn(event.dataTransfer.files)); });
  addEventListener("popstate", () => { drop(null); query = fromAddress(); if ($("detail").open) $("detail").close(); draw(); });
}

async function begin() {
  const [found, others] = await Promise.all([ask("/v1/indexes"), served()]);
  indexes = found.indexes;
  links(others, "");
  $("index").replaceChildren(...indexes.map((each) => make("option", { value: each.name, textContent: each.name })));
  $("picker").hidden = indexes.length < 2;
  query = fromAddress();
  listen();
  await draw();
}

begin().catch((error) => say("That did not work", error.message, "wrong"));
