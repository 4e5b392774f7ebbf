// Shows the Jupyter widgets that a page holds, without a kernel and without asking anybody for a script.
import { anywidget } from "./host/anywidget.js"; // before the next line, which calls what it defines
import "anywidget";
import * as base from "@jupyter-widgets/base";
import { ManagerBase } from "@jupyter-widgets/base-manager";
import * as controls from "@jupyter-widgets/controls";
import "@jupyter-widgets/controls/css/widgets.css";
import { Widget } from "@lumino/widgets";
import "@lumino/widgets/style/index.css";

const MODULES = { "@jupyter-widgets/base": base, "@jupyter-widgets/controls": controls, anywidget: anywidget(base) };

class Manager extends ManagerBase {
  async loadClass(name, module) {
    const found = MODULES[module]?.[name];
    if (!found) throw new Error(`the widget ${module}/${name} is not part of this book`);
    return found;
  }

  async _create_comm() {
    throw new Error("this page has no kernel");
  }

  async _get_comm_info() {
    return {};
  }
}

// ipywidgets leaves the handles of its sliders without a name, and a SelectionSlider says a number instead of its label.
function nameHandles(box) {
  for (const row of box.querySelectorAll(".widget-inline-hbox")) {
    const label = row.querySelector(".widget-label"), value = row.querySelector(".widget-readout");
    for (const handle of row.querySelectorAll(".noUi-handle")) {
      if (label) handle.setAttribute("aria-label", label.textContent.trim());
      if (!value) continue;
      const say = () => {
        if (handle.getAttribute("aria-valuetext") !== value.textContent) handle.setAttribute("aria-valuetext", value.textContent);
      };
      const watch = new MutationObserver(say);
      watch.observe(value, { childList: true, characterData: true, subtree: true });
      watch.observe(handle, { attributeFilter: ["aria-valuetext"] });
      say();
    }
  }
}

const parsed = (type) => [...document.querySelectorAll(`script[type="application/vnd.jupyter.${type}+json"]`)]
  .map((script) => [script, JSON.parse(script.textContent)]);

async function show() {
  const views = parsed("widget-view");
  for (const [, state] of parsed("widget-state")) {
    const manager = new Manager();
    const models = new Map((await manager.set_state(state)).map((model) => [model.model_id, model]));
    for (const [script, { model_id: id }] of views) {
      if (!models.has(id)) continue;
      const box = document.createElement("div");
      box.className = "lab-widget";
      script.before(box);
      const view = await manager.create_view(models.get(id));
      Widget.attach(view.luminoWidget, box);
      view.displayed.then(() => requestAnimationFrame(() => nameHandles(box)));
    }
  }
}

const start = () => show().catch((error) => console.error("widgets:", error));
if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
else start();
