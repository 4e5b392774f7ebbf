// Put into the theme's script of searches, after what it changes: pages to read come before those of the reference, and
// an excerpt is of a page's text, not of the menus above it.
Scorer.score = ([page, , , , score]) => score - (/(^|\/)reference/.test(page) ? 1000 : 0);
Search.wholePage = Search.htmlToText;
Search.htmlToText = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  const main = page.querySelector('[role="main"]'), text = page.querySelector(".bd-article");
  if (main && text) main.replaceChildren(text);
  for (const menu of page.querySelectorAll(".lab-tools, form, button, svg")) menu.remove();
  return Search.wholePage(page.documentElement.outerHTML, anchor);
};
