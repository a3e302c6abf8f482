// What the pages share. All text reaches the page as text nodes, never as markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const SHAPES = {
  more: "M12 5v14M5 12h14", less: "M5 12h14", close: "m6 6 12 12M18 6 6 18",
  left: "m14.500 5-7 7 7 7", right: "m9.500 5 7 7-7 7",
  heart: "M12 20C7 16.500 4 13.500 4 9.800A4.300 4.300 0 0 1 12 7.600 4.300 4.300 0 0 1 20 9.800C20 13.500 17 16.500 12 20Z",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export class Refused extends Error {
  constructor(status, error) {
    super(error.message || "The server did not say why.");
    this.status = status;
    this.kind = error.kind || "";
  }
}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The server does not answer. Is it still running?" });
  }
  let tree = {};
  try { tree = await response.json(); } catch { /* an answer that is no JSON says nothing */ }
  if (!response.ok) throw new Refused(response.status, tree.error || {});
  return tree;
}

export const send = (path, tree, signal) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(tree), signal });

export function sendPicture(path, file, fields, signal) {
  const form = new FormData();
  form.append("picture", file, "picture");
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  return ask(path, { method: "POST", body: form, signal });
}

export const number = (value) => value.toLocaleString("en");
export const percent = (value) => `${Math.round(100 * value)} %`;
export const pictureIn = (list) => [...(list || [])].find((file) => file.type.startsWith("image/"));

// The bar shows only when an answer takes longer than the eye waits.
let waiting;
export function busy(on) {
  clearTimeout(waiting);
  if (on) waiting = setTimeout(() => { $("bar").hidden = false; }, 150);
  else $("bar").hidden = true;
}

export async function served() {
  const [{ models }, { recommenders }] = await Promise.all([ask("/v1/models"), ask("/v1/recommenders")]);
  return { models, recommenders };
}

// The pages of models and recommenders; `here` is the path of the one that is open.
export function links({ models, recommenders }, here) {
  const page = (path, { name }) => make("a", { href: `/${path}/${encodeURIComponent(name)}`, textContent: name,
    ...(here === `${path}/${name}` ? { "aria-current": "page" } : {}) });
  const group = (word, path, all) => (all.length ? [make("span", { textContent: word }), ...all.map((each) => page(path, each))] : []);
  const classifiers = models.filter(({ task }) => task === "classify"), others = models.filter((model) => !classifiers.includes(model));
  $("links").replaceChildren(...group("Recommend:", "recommenders", recommenders), ...group("Classify:", "models", classifiers),
    ...group("Answer:", "models", others));
}
