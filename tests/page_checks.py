"""What a page that is open must be for everybody: checks that a visit makes, each a list of what is wrong."""

import importlib.util
from pathlib import Path

# Controls that cannot be focused, or look no different when they are: one of each kind, by tag and classes.
FOCUS = """() => {
  const kinds = new Map(), wrong = [];
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length
    && !e.closest("[inert]") && !e.disabled && e.type !== "hidden";
  const name = (e) => [e.tagName, e.type ?? "", ...e.classList].join(".");
  for (const control of document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]"))
    if (shown(control) && !kinds.has(name(control))) kinds.set(name(control), control);
  const parts = ["outlineStyle", "outlineWidth", "outlineColor", "boxShadow", "backgroundColor", "borderTopColor",
    "color", "textDecorationLine"];
  const drawn = (e) => parts.map((key) => getComputedStyle(e)[key]).join();
  const look = (e) => [e, ...e.labels ?? []].map(drawn).join();
  const still = document.createElement("style");
  still.textContent = "* { transition: none !important }";
  document.head.append(still);
  document.activeElement.blur(); // what a first Tab reached looks like that already
  const others = ".modebar-btn, #pst-skip-link *, [tabindex='-1']"; // plotly's, one that comes into sight, for scripts
  for (const [kind, control] of kinds) {
    if (control.matches(others)) continue;
    const before = look(control);
    control.focus({ preventScroll: true });
    if (document.activeElement !== control) wrong.push(`not reached: ${kind}`);
    else if (look(control) === before) wrong.push(`focus not seen: ${kind} ${control.outerHTML.slice(0, 120)}`);
    control.blur();
  }
  still.remove();
  return wrong;
}"""
# What moves by itself although a reader asked for none of that.
MOVES = """() => {
  const running = document.getAnimations().filter(({ playState }) => playState === "running");
  const smooth = getComputedStyle(document.documentElement).scrollBehavior === "smooth";
  return [...running.map(({ effect }) => `moves: ${effect?.target?.className}`), ...smooth ? ["scrolls smoothly"] : []];
}"""
# On paper a picture stands for each widget, and all figures are drawn, in light.
PAPER = """() => {
  const shown = (e) => getComputedStyle(e).display !== "none";
  const every = (selector) => [...document.querySelectorAll(selector)];
  const wrong = every(".pl-widget, .lab-tools, .lab-controls").filter(shown).map((e) => `on paper: ${e.className}`);
  const missing = every(".lab-still").filter((e) => !shown(e)).map(() => "a widget without its picture");
  const bare = every(".lab-plot:not([data-drawn])").map(() => "a figure that is not drawn");
  const dark = document.documentElement.dataset.theme === "light" ? [] : ["dark paper"];
  return [...wrong, ...missing, ...bare, ...dark];
}"""
AXE = "() => axe.run(document, { resultTypes: ['violations'], preload: false })"


def axe() -> str | None:
    """The source of axe-core; None: it is not installed."""
    found = importlib.util.find_spec("axe_playwright_python")
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8") if found else None


def barriers(page, source):
    """What axe-core calls serious or critical: rule and place."""
    page.evaluate(source)
    found = page.evaluate(AXE)["violations"]
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def out_of_reach(page):
    """Controls that a keyboard does not reach, or whose focus nobody sees."""
    page.keyboard.press("Tab")  # from now on focus is a keyboard's
    return page.evaluate(FOCUS)


def on_paper(page):
    """What is wrong with the page when it is printed; afterwards it is on the screen again."""
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    found = page.evaluate(PAPER)
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    return found
