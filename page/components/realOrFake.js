// A guessing game: real and generated patches, unlabeled. If they look alike, the training worked.

import { h, replace } from "../dom.js";
import { formatCount } from "../format.js";

export function realOrFake() {
  const grid = h("div", { class: "patches", role: "group", "aria-label": "Patches" });
  const result = h("p", { role: "status" });
  const reveal = h("button", { type: "button", class: "primary" }, "Show which are real");
  const renew = h("button", { type: "button", hidden: true }, "Show newer patches");
  let shown = null, newer = null, revealed = false;

  const draw = ({ gallery, image }) => {
    const { side, columns, real } = gallery;
    revealed = false;
    result.textContent = "";
    reveal.hidden = false;
    replace(grid, real.map((_, index) => {
      const canvas = h("canvas", { width: side, height: side });
      canvas.getContext("2d").drawImage(image, (index % columns) * side, Math.floor(index / columns) * side, side, side, 0, 0, side, side);
      const button = h("button", { type: "button", "aria-pressed": "false", "aria-label": `Patch ${index + 1}`, onclick: () => {
        if (!revealed) button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "false");
      } }, canvas);
      return button;
    }));
  };
  const use = (patches) => { shown = patches; newer = null; renew.hidden = true; draw(patches); };
  const inUse = () => revealed || grid.querySelector('[aria-pressed="true"]');
  renew.onclick = () => newer && use(newer);
  reveal.onclick = () => {
    revealed = true;
    reveal.hidden = true;
    renew.hidden = !newer;
    const { real } = shown.gallery;
    let correct = 0, marked = 0;
    [...grid.children].forEach((button, index) => {
      const guess = button.getAttribute("aria-pressed") === "true";
      marked += guess;
      correct += guess === real[index];
      button.append(h("span", { class: "label" }, real[index] ? "real" : "generated"));
      button.classList.add(guess === real[index] ? "correct" : "wrong");
    });
    if (!marked) grid.querySelectorAll("button").forEach((button) => button.classList.remove("correct", "wrong"));
    const numReal = real.filter(Boolean).length;
    result.textContent = marked
      ? `${correct} of ${formatCount(real.length, "patch", "patches")} correct; guessing would give about ${real.length / 2}.`
      : `${numReal} are real and ${real.length - numReal} are generated.`;
  };
  return {
    element: h("div", { class: "stack" },
      h("p", { class: "muted" }, "Half of these patches are real, half are generated. Mark those that you think are real."),
      grid, h("div", { class: "row" }, reveal, renew), result),
    /** Shows new patches. While the user is guessing, it only offers them. */
    set: async (gallery, png) => {
      const patches = { gallery, image: await createImageBitmap(new Blob([png], { type: "image/png" })) };
      if (!shown || !inUse()) return use(patches);
      newer = patches;
      renew.hidden = !revealed;
    },
  };
}
