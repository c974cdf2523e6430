// Shows the view that the address names.

import { openSession } from "./api.js";
import { h, replace, showError } from "./dom.js";

const VIEWS = {
  datasets: () => import("./views/datasets.js"),
  dataset: () => import("./views/dataset.js"),
  try: () => import("./views/try.js"),
  jobs: () => import("./views/jobs.js"),
  job: () => import("./views/job.js"),
  model: () => import("./views/model.js"),
};
const DETAIL_VIEW = { datasets: "dataset", jobs: "job", models: "model" };
const NAV_SECTION = { model: "datasets" };

const main = document.getElementById("view");
let currentView = new AbortController();

async function show() {
  if (location.hash && !location.hash.startsWith("#/")) return; // an anchor, such as the skip link's
  const [path, query] = location.hash.slice(2).split("?");
  const [section = "", id] = path.split("/");
  const name = id ? DETAIL_VIEW[section] : section || "datasets";
  currentView.abort();
  currentView = new AbortController();
  const { signal } = currentView;
  for (const link of document.querySelectorAll(".top nav a")) {
    const isCurrent = link.hash === `#/${NAV_SECTION[name] ?? (section || "datasets")}`;
    isCurrent ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  try {
    if (!VIEWS[name]) throw new Error("Page not found.");
    const view = await VIEWS[name]();
    const title = await view.show(main, { id, query: new URLSearchParams(query), signal });
    if (signal.aborted) return;
    document.title = `${title} – Patina`;
  } catch (error) {
    if (signal.aborted) return;
    document.title = "Patina";
    if (error.status === 401) return showSignIn();
    replace(main, h("h1", {}, "Something went wrong"), h("p", { class: "notice error" }, error.message),
      h("p", {}, h("a", { href: "#/datasets" }, "Show datasets")));
  }
  if (show.hasRun) { window.scrollTo(0, 0); main.focus({ preventScroll: true }); }
  show.hasRun = true;
}

function showSignIn() {
  const field = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password" });
  replace(main, h("h1", {}, "Sign in"),
    h("form", { class: "card", onsubmit: (event) => {
      event.preventDefault();
      openSession(field.value).then(show, showError);
    } },
    h("p", {}, "This service needs a token. Its operator creates one with ", h("code", {}, "patina token create NAME"), "."),
    h("label", {}, "Token", field), h("button", { class: "primary" }, "Sign in")));
  field.focus();
}

document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", show);
show();
