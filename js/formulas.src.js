// Sets the formulas of a page, those in elements of the class `math`, as SVG: of MathJax what they need and no more.
import { mathjax } from "mathjax-full/js/mathjax.js";
import { TeX } from "mathjax-full/js/input/tex.js";
import "mathjax-full/js/input/tex/base/BaseConfiguration.js";
import "mathjax-full/js/input/tex/ams/AmsConfiguration.js";
import { SVG } from "mathjax-full/js/output/svg.js";
import { browserAdaptor } from "mathjax-full/js/adaptors/browserAdaptor.js";
import { RegisterHTMLHandler } from "mathjax-full/js/handlers/html.js";
import { AssistiveMmlHandler } from "mathjax-full/js/a11y/assistive-mml.js";

AssistiveMmlHandler(RegisterHTMLHandler(browserAdaptor())); // beside each picture MathML, for screen readers
const tex = new TeX({ packages: ["base", "ams"], inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"], ["$$", "$$"]] });
const page = mathjax.document(document, { InputJax: tex, OutputJax: new SVG({ fontCache: "local" }) });
page.findMath({ elements: [...document.querySelectorAll(".math")] }).compile().getMetrics().typeset().assistiveMml().updateDocument();
