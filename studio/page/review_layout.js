// Which of the review's keys was meant, on whatever keyboard: by what its layout says, else by where the key lies.
// The digit row counts as digits also where it gives them with Shift only (French), and what else a layout gives there
// is never taken for a key of ours. A layout's Latin letters are taken at their word; others (Cyrillic) by place.
em.reviewLayout = (isOurs) => {
  const PLACES = { Minus: "-", Equal: "=", Comma: ",", Period: ".", Slash: "/" };
  const DIGIT = /^Digit(\d)$/, LETTER = /^Key([A-Z])$/;
  let layout = null; // What each place gives without Shift, where the browser tells.

  const atPlace = (code) => DIGIT.exec(code)?.[1] ?? LETTER.exec(code)?.[1].toLowerCase() ?? PLACES[code];
  const placeOf = (key) => [`Digit${key}`, `Key${key.toUpperCase()}`, ...Object.keys(PLACES)].find((code) => atPlace(code) === key);
  return {
    // The key of ours, or what the layout says; null while a word is being composed.
    meant(event) {
      if (event.isComposing) return null;
      const { key, code, shiftKey } = event, said = key.length === 1 ? key.toLowerCase() : key;
      if (DIGIT.test(code) && !shiftKey) return /^\d$/.test(said) ? said : atPlace(code);
      if (isOurs(said)) return said;
      const byPlace = atPlace(code), takenAtItsWord = /^[a-z0-9]$/.test(said) || (shiftKey && !LETTER.test(code)) || DIGIT.test(code);
      return byPlace && !takenAtItsWord ? byPlace : said;
    },
    // What stands on this keyboard's key.
    cap(key) {
      const name = key.length === 1 ? key.toUpperCase() : key, code = key.length === 1 && placeOf(key);
      if (!layout || !code || DIGIT.test(code)) return name;
      const given = [...layout].some(([place, sign]) => sign === key && !DIGIT.test(place));
      const here = layout.get(code)?.toUpperCase();
      if (given || !here) return name;
      return LETTER.test(code) ? `${name} ${here}` : here;
    },
    async look() {
      layout = (await navigator.keyboard?.getLayoutMap?.().catch(() => null)) ?? null;
    },
  };
};
