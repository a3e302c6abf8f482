// Recommend: a title typed gives its neighbours, what is liked gives "for you". The URL holds the item shown, the likes and the variety.

import { $, ask, busy, icon, links, make, number, send, served } from "./parts.js";

const NEAR = 10, YOU = 10, TYPED = 8, OFFERED = 5, MOST = 100, PAUSE = 60;
const known = new Map();  // id -> title, of all that was shown
const asked = {};  // what is under way, by its place on the page
let recommender, state, active = -1, pausing;

const base = () => `/v1/recommenders/${encodeURIComponent(recommender.name)}`;
const item = (name, signal) => ask(`${base()}/items/${encodeURIComponent(name)}`, { signal });
const titles = (q, signal) => ask(`${base()}/titles?k=${TYPED}&q=${encodeURIComponent(q)}`, { signal }).then((found) => found.titles);
const titleOf = (id) => known.get(id) || id;

// ---- The address ----

function fromAddress() {
  const told = new URLSearchParams(location.search);
  const diversity = Number(told.get("variety"));
  return { item: told.get("item"), likes: [...new Set(told.getAll("like"))].slice(0, MOST), diversity: diversity >= 0 && diversity <= 1 ? diversity : 0 };
}

function address({ item, likes, diversity }) {
  const told = new URLSearchParams();
  if (item) told.set("item", item);
  likes.forEach((id) => told.append("like", id));
  if (diversity) told.set("variety", diversity);
  return location.pathname + (told.size ? `?${told}` : "");
}

function go(change, { replace = false } = {}) {
  const before = state;
  state = { ...state, ...change };
  history[replace ? "replaceState" : "pushState"](null, "", address(state));
  draw(before);
}

function toggle(id) {
  const likes = state.likes.includes(id) ? state.likes.filter((each) => each !== id) : [...state.likes, id].slice(-MOST);
  go({ likes });
}

function show(id) {
  go({ item: id });
  $("near").scrollIntoView({ block: "nearest" });
}

// ---- Drawing ----

async function draw(before = {}) {
  $("message").hidden = true;
  drawLikes();
  const work = [];
  if (state.item !== before.item) work.push(drawNear());
  if (state.likes !== before.likes || state.diversity !== before.diversity) work.push(drawYou());
  mark();
  await Promise.all(work);
}

function drawLikes() {
  $("liked").hidden = !state.likes.length;
  $("invite").hidden = state.item || state.likes.length > 0;
  $("chips").replaceChildren(...state.likes.map((id) => make("li", { className: "chip" },
    make("button", { type: "button", className: "to", textContent: titleOf(id), title: "More like this", onclick: () => show(id) }),
    make("button", { type: "button", title: "Remove", ariaLabel: `Remove ${titleOf(id)}`, onclick: () => toggle(id) }, icon("close")))));
}

function mark() {
  for (const heart of document.querySelectorAll(".heart")) heart.setAttribute("aria-pressed", state.likes.includes(heart.dataset.item));
}

// The newest question of a place is the one that is answered; its list is dim until then.
async function answered(place, list, request, draw) {
  asked[place]?.abort();
  const mine = asked[place] = new AbortController();
  list.classList.add("old");
  busy(true);
  try {
    const found = await request(mine.signal);
    if (!mine.signal.aborted) draw(found);
  } catch (error) {
    if (error.name !== "AbortError") say("That did not work", error.message, "wrong");
  } finally {
    if (asked[place] === mine) {
      delete asked[place];
      list.classList.remove("old");
      if (!Object.keys(asked).length) busy(false);
    }
  }
}

function drawNear() {
  if (!state.item) {
    asked.near?.abort();
    $("near").hidden = true;
    document.title = `${recommender.name} · Graft`;
    return Promise.resolve();
  }
  const name = state.item;
  const request = (signal) => Promise.all([item(name, signal), send(`${base()}/similar`, { item: name, k: NEAR }, signal)]);
  return answered("near", $("similar"), request, ([about, found]) => {
    known.set(about.item, about.title);
    document.title = `${about.title} · Graft`;
    $("nearTitle").textContent = `More like ${about.title}`;
    $("nearFacts").textContent = [about.categories.join(", "), about.reason].filter(Boolean).join(" · ");
    $("like").dataset.item = about.item;
    $("like").replaceChildren(icon("heart"), "I like it");
    $("near").hidden = false;
    fill($("similar"), found.recommendations);
    $("nearNotes").textContent = found.notes.join(". ");
    $("status").textContent = `${found.recommendations.length} like ${about.title}`;
  });
}

function drawYou() {
  const { likes, diversity } = state;
  $("diversity").value = diversity;
  return answered("you", $("recommended"), (signal) => send(`${base()}/recommend`, { history: likes, k: YOU, diversity }, signal), (found) => {
    $("youTitle").textContent = likes.length ? "For you" : "What most people like";
    fill($("recommended"), found.recommendations);
    $("youNotes").textContent = found.notes.join(". ");
    $("shelves").hidden = false;
    $("status").textContent = `${found.recommendations.length} recommended`;
  });
}

// A list drawn anew keeps the keyboard where it was.
function fill(list, recommendations) {
  const inside = [...list.querySelectorAll("button")];
  const place = inside.indexOf(document.activeElement);
  recommendations.forEach(({ item, title }) => known.set(item, title));
  list.replaceChildren(...recommendations.map(card));
  mark();
  if (place >= 0) [...list.querySelectorAll("button")][Math.min(place, 2 * recommendations.length - 1)]?.focus();
}

function card({ item, title, reason }) {
  const heart = make("button", { type: "button", className: "act heart", title: "I like it (L)", ariaLabel: `I like ${title}`, onclick: () => toggle(item) }, icon("heart"));
  const open = make("button", { type: "button", className: "open", title: "More like this", onclick: () => show(item) },
    make("span", { className: "words", textContent: title }), make("span", { className: "under", textContent: reason }));
  heart.dataset.item = open.dataset.item = item;
  return make("li", {}, open, make("span", { className: "acts" }, heart));
}

function say(head, text, className, ...more) {
  $("message").className = `message ${className}`;
  $("message").replaceChildren(make("h2", { textContent: head }), make("p", { textContent: text }), ...more);
  $("message").hidden = false;
}

// ---- A title as it is typed ----

const options = () => [...$("suggestions").children];

function close() {
  clearTimeout(pausing);
  asked.typed?.abort();
  $("suggestions").hidden = true;
  $("q").setAttribute("aria-expanded", false);
  point(-1);
}

function point(place) {
  const all = options();
  all[active]?.setAttribute("aria-selected", false);
  active = place;
  all[active]?.setAttribute("aria-selected", true);
  all[active]?.scrollIntoView({ block: "nearest" });
  if (all[active]) $("q").setAttribute("aria-activedescendant", all[active].id);
  else $("q").removeAttribute("aria-activedescendant");
}

function pick(id) {
  $("q").value = "";
  close();
  show(id);
}

function suggest() {
  const words = $("q").value.trim();
  if (!words) return close();
  clearTimeout(pausing);
  pausing = setTimeout(async () => {
    asked.typed?.abort();
    const mine = asked.typed = new AbortController();
    try {
      drawSuggestions(await titles(words, mine.signal));
    } catch (error) {
      if (error.name !== "AbortError") close();
    } finally {
      if (asked.typed === mine) delete asked.typed;
    }
  }, PAUSE);
}

function drawSuggestions(found) {
  point(-1);
  found.forEach(({ item, title }) => known.set(item, title));
  $("suggestions").replaceChildren(...found.map(({ item, title }, i) => make("li", { id: `option${i}`, role: "option", ariaSelected: "false",
    textContent: title, onpointerdown: (event) => event.preventDefault(), onclick: () => pick(item) })));
  $("suggestions").hidden = !found.length;
  $("q").setAttribute("aria-expanded", found.length > 0);
}

async function submit(event) {
  event.preventDefault();
  const words = $("q").value.trim();
  if (active >= 0) return options()[active].click();
  if (!words) return undefined;
  close();
  try {
    pick((await item(words)).item);
  } catch (error) {
    if (error.status !== 404) return say("That did not work", error.message, "wrong");
    const near = await titles(words).catch(() => []);
    const offer = ({ item, title }) => make("li", {}, make("button", { type: "button", className: "quiet", textContent: title, onclick: () => pick(item) }));
    say(`“${words}” is not known`, near.length ? "Did you mean one of these?" : "Nothing is called anything like it.", "calm", make("ul", { className: "tries" }, ...near.slice(0, OFFERED).map(offer)));
  }
  return undefined;
}

// ---- Keyboard ----

function onTyping(event) {
  const count = $("suggestions").hidden ? 0 : options().length;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && count) {
    event.preventDefault();
    point(active + step < -1 ? count - 1 : active + step >= count ? -1 : active + step);
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    document.querySelector(".shelf:not([hidden]) .open")?.focus();
  } else if (event.key === "Escape") {
    if (count) close();
    else $("q").blur();
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.activeElement === $("diversity")) return;
  if (document.activeElement === $("q")) { onTyping(event); return; }
  if (event.key === "/") { event.preventDefault(); $("q").focus(); $("q").select(); return; }
  const here = document.activeElement.closest?.(".shelf .hits li");
  if (event.key === "l") {
    const id = here?.querySelector(".open").dataset.item || (document.activeElement.closest?.("#near") && $("like").dataset.item);
    if (id) toggle(id);
    return;
  }
  if (!event.key.startsWith("Arrow")) return;
  event.preventDefault();
  const list = here?.parentElement, place = here ? [...list.children].indexOf(here) : -1;
  if (!here) { document.querySelector(".shelf:not([hidden]) .open")?.focus(); return; }
  const sideways = { ArrowLeft: "similar", ArrowRight: "recommended" }[event.key];
  const target = sideways ? $(sideways) : list;
  const to = sideways ? (target === list || target.closest("[hidden]") ? place : Math.min(place, target.children.length - 1)) : place + (event.key === "ArrowDown" ? 1 : -1);
  if (to < 0) $("q").focus();
  else target.children[to]?.querySelector(".open").focus();
}

// ---- Beginning ----

function listen() {
  $("form").addEventListener("submit", submit);
  $("q").addEventListener("input", suggest);
  $("q").addEventListener("blur", close);
  $("like").addEventListener("click", () => toggle($("like").dataset.item));
  let sliding;
  $("diversity").addEventListener("input", () => {
    clearTimeout(sliding);
    sliding = setTimeout(() => go({ diversity: Number($("diversity").value) }, { replace: true }), PAUSE);
  });
  document.addEventListener("keydown", onKey);
  addEventListener("popstate", () => { const before = state; state = fromAddress(); draw(before); });
}

async function begin() {
  const named = decodeURIComponent(location.pathname.split("/")[2] || "");
  const all = await served();
  recommender = all.recommenders.find((each) => each.name === named) || all.recommenders[0];
  if (!recommender) throw new Error("No recommender is served.");
  links(all, `recommenders/${recommender.name}`);
  $("q").placeholder = innerWidth < 560 ? "A title" : `A title, out of ${number(recommender.items)}`;
  $("facts").textContent = `${recommender.name}: ${recommender.model} on ${number(recommender.likes)} likes of ${number(recommender.people)} people`
    + (recommender.trouble ? ` (a newer version cannot be served: ${recommender.trouble})` : "");
  state = fromAddress();
  listen();
  const found = await Promise.all(state.likes.map((id) => item(id).catch(() => null)));
  state.likes = [...new Set(found.filter(Boolean).map((each) => { known.set(each.item, each.title); return each.item; }))];
  await draw();
}

begin().catch((error) => say("That did not work", error.message, "wrong"));
