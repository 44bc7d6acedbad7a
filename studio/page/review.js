// The review tab: see a clip, press what is wrong with it, go on. Every key is kept by the server before the next clip shows.
em.review = (root) => {
  const $ = (selector) => root.querySelector(selector);
  const make = (tag, values = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), values);
    made.append(...inside);
    return made;
  };
  let setup = null, words = {}, player = null, items = [], batch = null, current = null, done = [];
  const batchNow = () => setup?.batches.find((each) => each.id === batch);
  const item = () => items[0];
  const say = (text, bad = false) => {
    $(".em-hint").textContent = text ?? "";
    $(".em-hint").classList.toggle("em-bad", bad);
  };
  const issueOf = (key) => setup.issues.find((issue) => issue.key === key);

  const keys = em.reviewKeys({
    annotator: () => setup?.annotator.name,
    onState(count) {
      $(".em-saved").textContent = count ? words["{count} keys are not saved yet; trying again"]?.replace("{count}", count) : words["Everything is saved"];
      $(".em-saved").classList.toggle("em-waiting", count > 0);
    },
    onAnswer(of, answer, settled) {
      const refused = answer.refused.find((entry) => entry.message);
      if (of !== batch || !settled) return;
      if (answer.items) take(answer.items);
      else refresh();
      if (refused) say(refused.message, true);
    },
  });

  const press = (kind, values = {}) => {
    if (!item() || item().leaving) return;
    keys.press(batch, { item: item().item, kind, played: player.played(), ...values });
  };
  const mark = (id, changes) => {
    const marks = item().marks, old = marks[id] ?? { severity: 2, span_s: null, region: null };
    delete marks[id];
    marks[id] = { ...old, ...changes };
    current = id;
    press("mark", { issue: id, mark: marks[id] });
    draw();
    say(words["Marked. Enter finishes this clip."]);
  };
  const leave = (kind, values) => {
    if (!item() || item().leaving) return;
    if (kind !== "skip" && !player.played()) return say(words["Watch it to its end to unlock the answers."], true);
    const marked = Object.keys(item().marks).length;
    if (kind === "good" && marked) return say(words["Take the marks off first: a good clip has none."], true);
    if (kind === "bad" && !marked) return say(words["Nothing is wrong yet: press an issue's key, or G for good."], true);
    press(kind, values);
    player.pause(); // What is decoded now is seen by nobody, and the next clip waits for it.
    item().leaving = true;
    done.push(Date.now());
    root.classList.add("em-leaving");
  };

  const acts = {
    " ": () => player.toggle(),
    ",": () => player.step(-1),
    ".": () => player.step(1),
    z: () => player.faster(-1),
    x: () => player.faster(1),
    l: () => player.turnLoop(),
    s: () => leave("skip"),
    n: () => $(".em-note").focus(),
    "?": () => ($(".em-help").open = !$(".em-help").open),
    u() {
      if (!items.length) items = [{ item: 0, marks: {}, clips: [] }];
      item().leaving = false;
      press("undo");
      item().leaving = true;
    },
  };
  const clipActs = {
    g: () => leave("good"),
    Enter: () => leave("bad"),
    q: () => current && mark(current, { severity: 1 }),
    w: () => current && mark(current, { severity: 2 }),
    e: () => current && mark(current, { severity: 3 }),
    r: () => current && mark(current, { region: null }),
    i: () => current && span(0),
    o: () => current && span(1),
  };
  const pairActs = {};
  for (const [choice, pressed] of [["left", ["1", "ArrowLeft"]], ["right", ["2", "ArrowRight"]], ["tie", ["0", "3", "ArrowDown"]]])
    for (const key of pressed) pairActs[key] = () => leave("prefer", { choice });
  const span = (end) => {
    const times = [...(item().marks[current]?.span_s ?? [0, player.length()])];
    times[end] = player.frameTimes()[end];
    if (times[0] >= times[1]) times[1 - end] = end ? 0 : player.length();
    mark(current, { span_s: times });
  };
  const issueKey = (issue) => {
    if (!item() || item().leaving) return;
    if (item().marks[issue.id]) {
      delete item().marks[issue.id];
      current = Object.keys(item().marks).at(-1) ?? null;
      press("unmark", { issue: issue.id });
      draw();
    } else mark(issue.id, {});
  };
  const act = (key) => {
    const pairs = item()?.kind === "pairs";
    const found = acts[key] ?? (pairs ? pairActs : clipActs)[key];
    const issue = !pairs && issueOf(key);
    if (found) {
      if (item() || key === "u" || key === "?") found();
    } else if (issue) issueKey(issue);
    return Boolean(found || issue);
  };

  document.addEventListener("keydown", (event) => {
    if (!root.isConnected || root.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    if (["Enter", " "].includes(event.key) && event.target.closest?.("button:not([aria-selected=true]), summary, a")) return;
    if (event.repeat && ![",", "."].includes(event.key)) return;
    if (act(event.key.length === 1 ? event.key.toLowerCase() : event.key)) {
      event.preventDefault();
      event.stopPropagation();
    }
  });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-key]");
    if (!button) return;
    root.focus({ preventScroll: true });
    act(button.dataset.key);
  });

  const CAPS = { ArrowLeft: "1", ArrowRight: "2", ArrowDown: "0", Enter: "↵" };
  const keyed = (key, text, extra = "") => {
    const cap = make("kbd", { textContent: CAPS[key] ?? key.toUpperCase() });
    const button = make("button", { type: "button", className: `em-key ${extra}` }, cap, text);
    button.dataset.key = key;
    return button;
  };
  const draw = () => {
    if (!item()) return;
    const pairs = item().kind === "pairs", locked = !player.played(), marks = item().marks;
    player.draw(marks, current);
    $(".em-issues").replaceChildren(
      ...(pairs ? [] : setup.issues).map((issue) => {
        const held = marks[issue.id];
        const button = keyed(issue.key, issue.title, held ? "em-marked" : "");
        button.classList.toggle("em-current", issue.id === current);
        button.setAttribute("aria-pressed", Boolean(held));
        if (held) {
          const times = held.span_s ? `${held.span_s[0].toFixed(2)}–${held.span_s[1].toFixed(2)} s` : words["Whole clip"];
          button.append(make("small", {}, `${"●".repeat(held.severity)} ${times}${held.region ? ` · ${words.Region}` : ""}`));
        }
        return button;
      }),
    );
    const ends = pairs
      ? [keyed("ArrowLeft", words.Left, "em-end"), keyed("ArrowDown", words.Same, "em-end"), keyed("ArrowRight", words.Right, "em-end")]
      : [keyed("g", words.Good, "em-end em-good"), keyed("Enter", words.Done, "em-end em-done")];
    for (const button of ends) button.classList.toggle("em-locked", locked);
    $(".em-ends").replaceChildren(...ends, keyed("s", words.Skip), keyed("u", words.Undo));
    if (document.activeElement !== $(".em-note")) $(".em-note").value = item().note ?? "";
  };
  const pace = () => {
    const hour = done.filter((time) => Date.now() - time < 3600000);
    const span = hour.length > 1 ? (hour.at(-1) - hour[0]) / (hour.length - 1) : 0;
    $(".em-pace").textContent = `${done.length} ${words["in this session"]}${span ? ` · ${Math.round(3600000 / span)} ${words["an hour"]}` : ""}`;
  };

  const take = (next) => {
    const before = item();
    items = next;
    root.classList.remove("em-leaving");
    root.classList.toggle("em-idle", !items.length);
    pace();
    if (!items.length) {
      player.clear();
      const waiting = batchNow()?.waiting;
      say(waiting ? words["{count} clips are still being made."].replace("{count}", waiting) : words["All done here. Thank you!"]);
      return;
    }
    if (before?.item !== item().item) {
      current = Object.keys(item().marks).at(-1) ?? null;
      player.show(item());
      say(words["Watch it to its end to unlock the answers."]);
    } else if (before.leaving) player.play();
    if (!item().marks[current]) current = Object.keys(item().marks).at(-1) ?? null;
    draw();
    // Once the clip is there: letting go of old ones and loading the one after take their time.
    setTimeout(() => player.keepOnly(items));
  };
  const refresh = async () => {
    if (batch === null) return;
    const response = await fetch(`review/queue/${batch}`);
    const answer = await response.json();
    if (response.ok) take(answer.items);
    else say(answer.error, true);
  };
  const choose = async (id) => {
    batch = id;
    localStorage.setItem("em-review-batch", id);
    items = [];
    await refresh();
  };

  // A new batch is shown to who has just made it, and to who has nothing left to do. One look after the other: an older
  // answer must not take back what a newer one has told.
  let offered = new Set(), looking = Promise.resolve();
  const load = (made = false) => (looking = looking.catch(() => {}).then(() => look(made)));
  const look = async (made) => {
    const response = await fetch("review/setup");
    const answer = await response.json();
    if (!response.ok) return say(answer.error, true);
    const free = made || (setup && !items.length && !batchNow()?.waiting);
    const opened = free ? answer.batches.find((each) => !offered.has(each.id)) : null;
    if (free || !setup) offered = new Set(answer.batches.map((each) => each.id));
    setup = answer;
    words = setup.words;
    player ??= em.reviewPlayer(root, {
      words,
      onPlayed() {
        draw();
        say(item().kind === "pairs" ? words["Which of the two is better?"] : words["Press the key of what is wrong, or G for good."]);
      },
      onRegion(box) {
        if (!current) {
          draw();
          return say(words["Press an issue's key first, then draw its place."], true);
        }
        mark(current, { region: box });
      },
    });
    $(".em-batch").setAttribute("aria-label", words.Batch);
    $(".em-batch").replaceChildren(...setup.batches.map((each) => make("option", { value: each.id }, each.title)));
    $(".em-who").hidden = !setup.annotator.chosen;
    $(".em-who").placeholder = words["Your name"];
    $(".em-who").value = setup.annotator.name === "local" ? "" : setup.annotator.name;
    $(".em-note").placeholder = `${words.Note} (N)`;
    $(".em-help summary").textContent = `${words.Keys} (?)`;
    const list = [["Space", "Play or pause"], [", .", "One frame back, on"], ["Z X", "Slower, faster"], ["L", "Loop"], ["I O", "Span: in, out point"], ["Q W E", "Severity 1, 2, 3"], ["R", "Forget the region"], ["N", "Write a note"], ["1 0 2", "Left, same, right"], ["G", "Good"], ["↵", "Done"], ["S", "Skip"], ["U", "Undo"]];
    $(".em-help ul").replaceChildren(...list.map(([name, text]) => make("li", {}, make("kbd", { textContent: name }), words[text])));
    const wanted = Number(localStorage.getItem("em-review-batch"));
    const first = opened ?? setup.batches.find((each) => each.id === wanted) ?? setup.batches[0];
    if (!first) {
      root.classList.add("em-idle");
      return say(words["Nothing to label yet: add clips first."]);
    }
    $(".em-batch").value = first.id;
    if (first.id !== batch) await choose(first.id);
    else if (!items.length) await refresh();
    keys.send();
  };
  $(".em-batch").addEventListener("change", (event) => choose(Number(event.target.value)));
  $(".em-who").addEventListener("change", (event) => {
    document.cookie = `echomimic-annotator=${encodeURIComponent(event.target.value.trim())}; path=/; max-age=31536000; SameSite=Lax`;
    batch = null;
    load();
  });
  $(".em-note").addEventListener("change", (event) => item() && press("note", { text: (item().note = event.target.value) }));
  $(".em-note").addEventListener("keydown", (event) => ["Enter", "Escape"].includes(event.key) && event.target.blur());
  window.addEventListener("em-review-changed", () => load(true));
  let seen = false;
  new IntersectionObserver(([entry]) => {
    if (entry.isIntersecting && !seen) {
      root.focus({ preventScroll: true });
      player?.play();
      load();
    } else if (!entry.isIntersecting && player) player.pause();
    seen = entry.isIntersecting;
  }).observe(root);
  setInterval(() => seen && setup && !items.length && !keys.waiting() && load(), 3000);
};
