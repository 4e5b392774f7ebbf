// Ten points fitted by random features as sliders move, and a dot on the curve that was measured on images.
(() => {
  // Columns [k][m] of a matrix with k <= m -> an orthonormal basis of them and the triangle R, columns = basis R.
  function factors(columns) {
    const basis = [], triangle = [];
    for (const column of columns) {
      const rest = Float64Array.from(column), above = new Float64Array(basis.length + 1);
      for (let turn = 0; turn < 2; turn++) { // the second turn takes what rounding left
        basis.forEach((q, i) => {
          let part = 0;
          for (let j = 0; j < q.length; j++) part += q[j] * rest[j];
          for (let j = 0; j < q.length; j++) rest[j] -= part * q[j];
          above[i] += part;
        });
      }
      const norm = Math.hypot(...rest);
      above[basis.length] = norm;
      basis.push(rest.map((v) => (norm > 0 ? v / norm : 0)));
      triangle.push(above);
    }
    return { basis, triangle };
  }

  const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);

  // Solve R a = b from below, or R' a = b from above; R as columns, upper triangular.
  function back(triangle, right) {
    const out = Array.from(right);
    for (let k = out.length - 1; k >= 0; k--) {
      out[k] /= triangle[k][k];
      for (let i = 0; i < k; i++) out[i] -= triangle[k][i] * out[k];
    }
    return out;
  }

  function forth(triangle, right) {
    const out = Array.from(right);
    for (let k = 0; k < out.length; k++) {
      for (let i = 0; i < k; i++) out[k] -= triangle[k][i] * out[i];
      out[k] /= triangle[k][k];
    }
    return out;
  }

  // The features of a place: pairs of a cosine and a sine over sqrt(N / 2).
  function waves(x, directions, count) {
    const scale = Math.sqrt(count / 2);
    return Array.from({ length: count }, (_, k) => (k % 2 ? Math.sin : Math.cos)(directions[k >> 1] * x) / scale);
  }

  // Coefficients of least squared error plus ridge times squared norm; at ridge 0 of least norm among the best.
  function fit(x, y, directions, count, ridge) {
    const rows = x.map((place) => waves(place, directions, count));
    if (!ridge && count > x.length) {
      const { basis, triangle } = factors(rows), inner = forth(triangle, y);
      return Array.from({ length: count }, (_, k) => dot(inner, basis.map((q) => q[k])));
    }
    const root = Math.sqrt(ridge), below = ridge ? count : 0;
    const columns = Array.from({ length: count }, (_, k) =>
      [...rows.map((row) => row[k]), ...Array.from({ length: below }, (_, i) => (i === k ? root : 0))]);
    const { basis, triangle } = factors(columns), right = [...y, ...new Array(below).fill(0)];
    return back(triangle, basis.map((q) => dot(Array.from(q), right)));
  }

  const value = (coefficients, x, directions) => dot(coefficients, waves(x, directions, coefficients.length));

  // The risk at a ratio, along straight lines between the logarithms of what was measured; null beyond the ends.
  function between(line, ratio) {
    const next = line.findIndex(([r]) => r >= ratio - 1e-9);
    if (next < 0 || (next === 0 && line[0][0] > ratio + 1e-9)) return null;
    if (next === 0) return line[0][1];
    const [[a, low], [b, high]] = [line[next - 1], line[next]];
    const share = Math.log(ratio / a) / Math.log(b / a);
    return Math.exp(Math.log(low) * (1 - share) + Math.log(high) * share);
  }

  function start(figure) {
    const { x, curve, noise, directions, ridges, noises, grid, left, width, top, bottom, height, curves, frame, named, said: words } =
      JSON.parse(figure.dataset.descent);
    const form = figure.querySelector("form"), output = form.querySelector("output");
    const dots = [...figure.querySelectorAll(".lab-point")], line = figure.querySelector(".lab-fit");
    const at = figure.querySelector(".lab-at"), lines = figure.querySelectorAll(".lab-line");
    const values = Object.fromEntries([...form.querySelectorAll(".lab-value")].map((one) => [one.dataset.of, one]));
    const which = figure.querySelector(".lab-which");
    const up = (y) => bottom - ((bottom - top) * (Math.max(-height, Math.min(height, y)) + height)) / (2 * height);
    const places = Array.from({ length: grid }, (_, i) => i / (grid - 1));
    const told = (v) => (v >= 100 ? Math.round(v).toLocaleString("en") : v.toPrecision(2));

    function show() {
      const count = Number(form.features.value), sd = noises[form.noise.value], ridge = ridges[form.ridge.value];
      const y = curve.map((v, i) => v + sd * noise[i]), found = fit(x, y, directions, count, ridge);
      const fits = places.map((place) => value(found, place, directions));
      line.setAttribute("d", `M${places.map((p, i) => `${(left + width * p).toFixed(1)} ${up(fits[i]).toFixed(1)}`).join("L")}`);
      dots.forEach((dot_, i) => dot_.setAttribute("cy", up(y[i])));
      const risk = places.reduce((sum, p, i) => sum + (fits[i] - Math.sin(2 * Math.PI * p)) ** 2, 0) / grid;
      const said = [`${count} features for ${x.length} points: mean squared distance to the dashed curve ${told(risk)}`,
        `norm ${told(Math.hypot(...found))}`, ...measured(count / x.length, sd > 0, ridge > 0)].join("; ");
      output.textContent = said;
      form.features.setAttribute("aria-valuetext", said);
      for (const [name, text] of Object.entries({ features: `${count}`, noise: words.noise[form.noise.value], ridge: words.ridge[form.ridge.value] })) {
        values[name].textContent = text;
        if (name !== "features") form[name].setAttribute("aria-valuetext", `${name}: ${text}`);
      }
    }

    // Move the dot along the curve that goes with the sliders; what is read off there.
    function measured(ratio, noisy, ridged) {
      const chosen = curves.find(([a, b]) => a === Number(noisy) && b === Number(ridged));
      lines.forEach((one) => one.classList.toggle("chosen",
        one.dataset.noisy === String(Number(noisy)) && one.dataset.ridged === String(Number(ridged))));
      if (which) which.textContent = named.find(([a, b]) => a === Number(noisy) && b === Number(ridged))[2];
      const risk = chosen ? between(chosen[2], ratio) : null;
      if (!at || risk === null) return at?.setAttribute("cx", -9), [];
      const [low, high, least, most] = frame;
      at.setAttribute("cx", left + (width * (Math.log(ratio) - low)) / (high - low));
      at.setAttribute("cy", bottom - ((bottom - top) * (Math.log(risk) - least)) / (most - least));
      return [`on images, at ${Number(ratio.toPrecision(3))} times as many features as images, test risk ${told(risk)}`];
    }

    form.hidden = false;
    globalThis.labState?.form(figure, "descent");
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
  }

  globalThis.labDescent = { fit, value, between };
  if (typeof document !== "undefined") document.querySelectorAll(".lab-descent").forEach(start);
})();
