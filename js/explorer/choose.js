// Which combinations there are: a later control offers what exists for the earlier ones.

// The places that control c offers when the controls before it are as chosen, in the order of the combinations.
export function offered(data, choice, c) {
  const found = new Set();
  for (const one of data.combinations) {
    let fits = true;
    for (let k = 0; k < c && fits; k++) fits = one[k] === choice[k];
    if (fits) found.add(one[c]);
  }
  return [...found];
}

// A combination that exists, as near to the wanted one as there is: what is there stays, a number goes to the nearest
// number, anything else to what stands where it stood among those offered `before`.
export function settle(data, wanted, before = wanted) {
  const choice = [];
  data.meta.controls.forEach(({ values }, c) => {
    const places = offered(data, choice, c), want = wanted[c];
    if (places.includes(want)) return choice.push(want);
    if (typeof values[want] === "number") {
      return choice.push(places.reduce((best, place) => (Math.abs(values[place] - values[want]) < Math.abs(values[best] - values[want]) ? place : best)));
    }
    const stood = offered(data, before, c).indexOf(want);
    choice.push(places[Math.min(Math.max(stood, 0), places.length - 1)]);
  });
  return choice;
}

// The address says values in words; what names none is left as it is.
export function fromAddress(data, texts, start) {
  const wanted = data.meta.controls.map(({ name, values }, c) => {
    const place = name in texts ? values.findIndex((value) => String(value) === texts[name]) : -1;
    return place < 0 ? start[c] : place;
  });
  return settle(data, wanted);
}

export const toAddress = (data, choice) => Object.fromEntries(data.meta.controls.map(({ name, values }, c) =>
  [name, choice[c] === data.meta.start[c] ? null : String(values[choice[c]])]));
