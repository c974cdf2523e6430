// Made patches among real ones, unlabelled until it is asked: if they cannot be told apart, training worked.

import { h, replace } from "/page/dom.js";
import { count } from "/page/words.js";

export function patchGame() {
  const grid = h("div", { class: "patches", role: "group", "aria-label": "Patches" });
  const verdict = h("p", { role: "status" });
  const look = h("button", { type: "button", class: "first" }, "Show which are real");
  const renew = h("button", { type: "button", hidden: true }, "Newer ones");
  let shown = null, waiting = null, told = false;

  const draw = ({ gallery, image }) => {
    const { side, columns, real } = gallery;
    told = false;
    verdict.textContent = "";
    look.hidden = false;
    replace(grid, real.map((isReal, index) => {
      const canvas = h("canvas", { width: side, height: side });
      canvas.getContext("2d").drawImage(image, (index % columns) * side, Math.floor(index / columns) * side, side, side, 0, 0, side, side);
      const button = h("button", { type: "button", "aria-pressed": "false", "aria-label": `Patch ${index + 1}`, onclick: () => {
        if (!told) button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "false");
      } }, canvas);
      return button;
    }));
  };
  const use = (next) => { shown = next; waiting = null; renew.hidden = true; draw(next); };
  const touched = () => told || grid.querySelector('[aria-pressed="true"]');
  renew.onclick = () => waiting && use(waiting);
  look.onclick = () => {
    told = true;
    look.hidden = true;
    renew.hidden = !waiting;
    const { real } = shown.gallery;
    let right = 0, marked = 0;
    [...grid.children].forEach((button, index) => {
      const guess = button.getAttribute("aria-pressed") === "true";
      marked += guess;
      right += guess === real[index];
      button.append(h("span", { class: "label" }, real[index] ? "real" : "made"));
      button.classList.add(guess === real[index] ? "right" : "wrong");
    });
    if (!marked) grid.querySelectorAll("button").forEach((button) => button.classList.remove("right", "wrong"));
    verdict.textContent = marked
      ? `${right} of ${count(real.length, "patch", "patches")} told rightly; by chance it would be about ${real.length / 2}.`
      : `${real.filter(Boolean).length} are real and ${real.filter((each) => !each).length} are made.`;
  };
  return {
    element: h("div", { class: "stack" },
      h("p", { class: "quiet" }, "Half of these patches are cut from real photos, half were made. Mark those that you take for real, then look."),
      grid, h("div", { class: "row" }, look, renew), verdict),
    /** Shows new patches; while somebody is at it, only offers them. */
    set: async (gallery, png) => {
      const next = { gallery, image: await createImageBitmap(new Blob([png], { type: "image/png" })) };
      if (!shown || !touched()) return use(next);
      waiting = next;
      renew.hidden = !told;
    },
  };
}
