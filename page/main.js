// Shows the view that the address names.

import { openSession } from "/page/api.js";
import { complain, h, replace } from "/page/dom.js";

const VIEWS = {
  datasets: () => import("/page/views/datasets.js"),
  dataset: () => import("/page/views/dataset.js"),
  try: () => import("/page/views/try.js"),
  jobs: () => import("/page/views/jobs.js"),
  job: () => import("/page/views/job.js"),
  model: () => import("/page/views/model.js"),
};
const SINGLE = { datasets: "dataset", jobs: "job", models: "model" };
const SECTION = { model: "datasets" };

const main = document.getElementById("view");
let leaving = new AbortController();

async function show() {
  if (location.hash && !location.hash.startsWith("#/")) return; // a place on the page, such as the skip link's
  const [path, query] = location.hash.slice(2).split("?");
  const [section = "", id] = path.split("/");
  const name = id ? SINGLE[section] : section || "datasets";
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  for (const link of document.querySelectorAll(".top nav a")) {
    const here = link.hash === `#/${SECTION[name] ?? (section || "datasets")}`;
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  try {
    if (!VIEWS[name]) throw new Error("There is nothing at this address.");
    const view = await VIEWS[name]();
    const title = await view.show(main, { id, query: new URLSearchParams(query), signal });
    if (signal.aborted) return;
    document.title = `${title} – Patina`;
  } catch (error) {
    if (signal.aborted) return;
    document.title = "Patina";
    if (error.status === 401) return askForToken();
    replace(main, h("h1", {}, "That did not work"), h("p", { class: "notice alarm" }, error.message),
      h("p", {}, h("a", { href: "#/datasets" }, "To the datasets")));
  }
  if (show.before) { window.scrollTo(0, 0); main.focus({ preventScroll: true }); }
  show.before = true;
}

function askForToken() {
  const field = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password" });
  replace(main, h("h1", {}, "Who are you?"),
    h("form", { class: "card", onsubmit: (event) => {
      event.preventDefault();
      openSession(field.value).then(show, complain);
    } },
    h("p", {}, "This service needs a token. Who runs it makes one with ", h("code", {}, "patina token create NAME"), "."),
    h("label", {}, "Token", field), h("button", { class: "first" }, "Come in")));
  field.focus();
}

document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", show);
show();
