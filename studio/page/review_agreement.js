// How far annotators agree about a batch, how fast they are, what is left; or which of two they prefer.
em.reviewAgreement = (root) => {
  const make = (tag, className, ...inside) => {
    const made = document.createElement(tag);
    made.className = className ?? "";
    made.append(...inside.map((part) => part ?? ""));
    return made;
  };
  const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);
  const table = (heads, rows, className = "") =>
    make("table", className, make("thead", "", make("tr", "", ...heads.map((head) => make("th", "", head)))), make("tbody", "", ...rows.map((cells) => make("tr", "", ...cells.map((cell) => (cell instanceof Node ? cell : make("td", "", String(cell))))))));
  let setup = null;

  const alphaCell = (value) => {
    const bar = make("i");
    bar.style.width = `${100 * Math.max(0, value ?? 0)}%`;
    return make("td", "em-alpha", bar, number(value));
  };
  const confusion = (found, titles) => {
    const used = found.names.map((_, index) => index).filter((index) => found.confusion.some((row, other) => row[index] || found.confusion[index][other]));
    const most = Math.max(1, ...used.flatMap((row) => used.filter((column) => column !== row).map((column) => found.confusion[row][column])));
    return table(["", ...used.map((index) => titles[index])], used.map((row) => [make("th", "", titles[row]), ...used.map((column) => {
      const count = found.confusion[row][column], cell = make("td", row === column ? "em-agreed" : "em-confused", count || "");
      if (row !== column) cell.style.setProperty("--em-share", count / most);
      return cell;
    })]), "em-confusion");
  };
  const show = async () => {
    const w = setup.words, batch = root.querySelector("select").value;
    const body = root.querySelector(".em-body");
    const response = await fetch(`review/agreement/${batch}`);
    const found = await response.json();
    if (!response.ok) return body.replaceChildren(make("p", "em-hint em-bad", found.error));
    const facts = [[found.items, w.clips], [found.left, w.left], [found.left_for_reader, w["left for you"]], [found.compared, w["with two answers or more"]]];
    const parts = [make("ul", "em-numbers", ...facts.map(([count, text]) => make("li", "", make("b", "", String(count)), text)))];
    if (found.preferences) {
      const { counts, share_b, interval, sign_test_p, alpha, by_annotator } = found.preferences;
      const sides = found.sides ?? ["", ""], name = (text, side) => (side ? `${text}: ${side.split(/[\\/]/).slice(-3).join("/")}` : text);
      parts.push(make("h3", "em-section", w.Preferred), table([name(w.First, sides[0]), w.Same, name(w.Second, sides[1])], [[counts.a, counts.tie, counts.b]]));
      parts.push(make("p", "", `${percent(share_b)} [${percent(interval[0])}, ${percent(interval[1])}] ${w["of those with a preference chose the second"]} · ${w["sign test"]} p = ${number(sign_test_p, 3)} · α = ${number(alpha)}`));
      parts.push(table([w.Annotator, w.First, w.Same, w.Second], Object.entries(by_annotator).map(([who, each]) => [who, each.a, each.tie, each.b])));
    } else {
      const titles = found.names.map((id) => (id === "good" ? w.Good : setup.issues.find((issue) => issue.id === id).title));
      parts.push(make("h3", "em-section", w["Agreement (alpha)"]), table([w.Issue, "α"], found.names.map((id, index) => [titles[index], alphaCell(found.alpha[id])]), "em-alphas"));
      if (found.confusion.some((row) => row.some((count) => count))) parts.push(make("h3", "em-section", w["What is confused"]), make("p", "em-caption", w["Said by one, down; by another, across."]), make("div", "em-wide", confusion(found, titles)));
    }
    parts.push(make("h3", "em-section", w.Annotator), table([w.Annotator, w.answers, w.skipped, w["an hour"], w["known right"]], found.pace.map((each) => [each.annotator, each.answers, each.skipped, number(each.per_hour, 0), each.gold_answered ? `${each.gold_right} / ${each.gold_answered}` : "–"])));
    parts.push(make("p", "em-caption", w["Counted are the clips that you cannot answer any more."]));
    body.replaceChildren(...parts);
  };
  const load = async () => {
    const response = await fetch("review/setup");
    setup = await response.json();
    if (!response.ok) return root.querySelector(".em-body").replaceChildren(make("p", "em-hint em-bad", setup.error));
    const select = root.querySelector("select"), before = select.value || localStorage.getItem("em-review-batch");
    select.replaceChildren(...setup.batches.map((batch) => Object.assign(make("option", "", batch.title), { value: batch.id })));
    if (setup.batches.some((batch) => String(batch.id) === before)) select.value = before;
    if (setup.batches.length) await show();
  };
  root.querySelector("select").addEventListener("change", show);
  let seen = false;
  new IntersectionObserver(([entry]) => {
    if (entry.isIntersecting && !seen) load();
    seen = entry.isIntersecting;
  }).observe(root);
};
