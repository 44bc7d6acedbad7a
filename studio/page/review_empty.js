// What stands where there is nothing to label yet: what a label is for, a way to begin, the keys as they lie.
em.reviewEmpty = (root, { begin }) => {
  const ROWS = [["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "-", "="], ["q", "w", "e", "r", "", "", "u", "i", "o"], ["", "s", "", "", "g", "", "", "", "l", "Enter"], ["z", "x", "", "", "", "n", "", ",", "."], [" "]];
  const DOES = {
    q: "Severity 1", w: "Severity 2", e: "Severity 3", r: "Forget the region", u: "Undo", i: "In point", o: "Out point", s: "Skip", g: "Good", l: "Loop",
    Enter: "Done", z: "Slower", x: "Faster", n: "Note", ",": "Frame back", ".": "Frame on", " ": "Play or pause",
  };
  const make = (tag, className, ...inside) => {
    const made = document.createElement(tag);
    made.className = className;
    made.append(...inside);
    return made;
  };
  return (setup, cap) => {
    const w = setup.words, count = root.dataset.examples, card = root.querySelector(".em-first");
    const titles = Object.fromEntries(setup.issues.map((issue) => [issue.key, issue.title]));
    const steps = make("ol", "", ...["Label: see a clip, press the key of what is wrong with it.", "Unlearn: training takes what you marked out of the model.", "Compare: before and after side by side, blind."].map((text) => make("li", "", w[text])));
    const keys = make("div", "em-keyboard", ...ROWS.map((row) => make("div", "", ...row.map((key) => {
      const does = titles[key] ?? w[DOES[key]] ?? "";
      const held = make("span", `${key ? "" : "em-no-key"} ${titles[key] ? "em-issue-key" : ""} ${key === "Enter" ? "em-wide-key" : ""}`);
      if (key) held.append(make("kbd", "", key === " " ? "␣" : key === "Enter" ? "↵" : cap(key)), make("small", "", does));
      return held;
    }))));
    const start = Number(count) && setup.annotator.lead ? make("button", "em-begin", w["Label {count} clips of the bundled examples"].replace("{count}", count)) : "";
    if (start) {
      start.type = "button";
      start.addEventListener("click", () => {
        start.disabled = true;
        setTimeout(() => (start.disabled = false), 3000);
        begin();
      });
    }
    const other = setup.annotator.lead ? w["Or add clips of your own under Add clips."] : w["Who leads this studio adds clips; they show here by themselves."];
    card.replaceChildren(make("h3", "em-section", w["What a label is for"]), steps, make("p", "em-begin-line", start, make("span", "em-caption", other)), keys);
  };
};
