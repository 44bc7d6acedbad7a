// The review tab: see a clip, press what is wrong with it, go on. Every key is kept by the server before the next clip shows.
em.review = (root, trigger) => {
  const $ = (selector) => root.querySelector(selector);
  const make = (tag, values = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), values);
    made.append(...inside);
    return made;
  };
  let setup = null, words = {}, player = null, items = [], batch = null, current = null;
  let early = null; // Keys that are pressed while a name changes.
  let pending = null; // A span, a region or a severity whose issue is still to be said.
  const batchNow = () => setup?.batches.find((each) => each.id === batch);
  const item = () => items[0];
  const say = (text, bad = false) => {
    $(".em-hint").replaceChildren(text ?? "");
    $(".em-hint").classList.toggle("em-bad", bad);
  };
  const loginLink = (text, address) => make("a", { textContent: text, href: address, target: "_blank" });
  const refuse = (answer, status) => {
    const login = answer.login ?? (status === 401 ? "./" : null);
    say(login ? loginLink(answer.error, login) : answer.error, true);
  };
  const focus = () => root.focus({ preventScroll: true });
  const issueOf = (key) => setup.issues.find((issue) => issue.key === key);

  const keys = em.reviewKeys({
    annotator: () => setup?.annotator.name,
    onState(count, login) {
      const text = login ? "You were logged out; log in, {count} keys wait" : count ? "{count} keys are not saved yet; trying again" : "Everything is saved";
      const told = words[text]?.replace("{count}", count) ?? "";
      $(".em-saved").replaceChildren(login && count ? loginLink(told, login) : told);
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
    pending = null;
    press("mark", { issue: id, mark: marks[id] });
    draw();
    say(words["Marked. Enter finishes this clip."]);
  };
  // About the issue that was marked last, or about the one that is marked next.
  const change = (changes) => {
    if (item().leaving) return;
    if (current) return mark(current, changes);
    pending = { ...pending, ...changes };
    draw();
    say(words["Kept: now press the key of what is wrong, or U to take it back."]);
  };
  const leave = (kind, values) => {
    if (!item() || item().leaving) return;
    if (kind !== "skip" && !player.played()) return say(words["Watch it to its end to unlock the answers."], true);
    const marked = Object.keys(item().marks).length;
    if (pending && kind !== "skip") return say(words["You marked a moment or a place: press the key of what is wrong, or U to take it back."], true);
    if (kind === "good" && marked) return say(words["Take the marks off first: a good clip has none."], true);
    if (kind === "bad" && !marked) return say(words["Nothing is wrong yet: press an issue's key, or G for good."], true);
    press(kind, values);
    player.pause(); // What is decoded now is seen by nobody, and the next clip waits for it.
    item().leaving = true;
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
      if (pending) {
        pending = null;
        draw();
        return say(words["Taken back."]);
      }
      if (!items.length) items = [{ item: 0, marks: {}, clips: [] }];
      item().leaving = false;
      press("undo");
      item().leaving = true;
    },
  };
  const clipActs = {
    g: () => leave("good"),
    Enter: () => leave("bad"),
    q: () => change({ severity: 1 }),
    w: () => change({ severity: 2 }),
    e: () => change({ severity: 3 }),
    r: () => ((current ? item().marks[current] : pending)?.region ? change({ region: null }) : say(words["No region is drawn here: drag over the clip to draw one."], true)),
    i: () => span(0),
    o: () => span(1),
  };
  const pairActs = {};
  for (const [choice, pressed] of [["left", ["1", "ArrowLeft"]], ["right", ["2", "ArrowRight"]], ["tie", ["0", "3", "ArrowDown"]]])
    for (const key of pressed) pairActs[key] = () => leave("prefer", { choice });
  const span = (end) => {
    const times = [...((current ? item().marks[current] : pending)?.span_s ?? [0, player.length()])];
    times[end] = player.frameTimes()[end];
    if (times[0] >= times[1]) times[1 - end] = end ? 0 : player.length();
    change({ span_s: times });
  };
  const issueKey = (issue) => {
    if (!item() || item().leaving) return;
    if (item().marks[issue.id]) {
      delete item().marks[issue.id];
      current = Object.keys(item().marks).at(-1) ?? null;
      press("unmark", { issue: issue.id });
      draw();
    } else mark(issue.id, pending ?? {});
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

  const layout = em.reviewLayout((key) => key in acts || key in clipActs || key in pairActs || Boolean(setup && issueOf(key)));
  const MENU_KEYS = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown", "Enter", " "];
  // Whether the key belongs to what has the focus. Space folds the help; Enter finishes the clip there as elsewhere.
  const belongsTo = (target, key) => {
    if (target.closest("input, textarea, [contenteditable]")) return true;
    if (target.closest("select")) return MENU_KEYS.includes(key);
    if (target.closest("summary")) return key === " " || (key === "Enter" && !item());
    return ["Enter", " "].includes(key) && target.closest("button:not([aria-selected=true]), a");
  };
  document.addEventListener("keydown", (event) => {
    if (!root.isConnected || root.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = layout.meant(event);
    if (key === null || (event.target.closest && belongsTo(event.target, key))) return;
    if (event.repeat && ![",", "."].includes(key)) return;
    if (early ? early.push(key) : act(key)) {
      if (event.target.closest?.("select")) focus();
      event.preventDefault();
      event.stopPropagation();
    }
  });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-key]");
    if (!button) return;
    focus();
    act(button.dataset.key);
  });

  const CAPS = { ArrowLeft: "1", ArrowRight: "2", ArrowDown: "0", Enter: "↵" };
  const keyed = (key, text, extra = "") => {
    const cap = make("kbd", { textContent: CAPS[key] ?? layout.cap(key) });
    const button = make("button", { type: "button", className: `em-key ${extra}` }, cap, text);
    button.dataset.key = key;
    return button;
  };
  const draw = () => {
    if (!item()) return;
    const pairs = item().kind === "pairs", locked = !player.played(), marks = item().marks;
    player.draw(marks, current, pending);
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
  let telling = null;
  const tellProgress = () => {
    clearTimeout(telling);
    telling = setTimeout(async () => {
      const since = new Date().setHours(0, 0, 0, 0) / 1000, of = batch;
      const response = await fetch(`review/progress/${of}?since=${since}`).catch(() => null);
      if (!response?.ok || of !== batch) return;
      const { items: all, done, today, per_hour } = await response.json();
      const told = [words["{done} of {items}"].replace("{done}", done.toLocaleString()).replace("{items}", all.toLocaleString()), words["{today} today"].replace("{today}", today.toLocaleString())];
      if (per_hour) told.push(`${Math.round(per_hour).toLocaleString()} ${words["an hour"]}`);
      $(".em-pace").textContent = told.join(" · ");
    }, 150);
  };

  const askWhat = () => say(item().kind === "pairs" ? words["Which of the two is better?"] : words["Press the key of what is wrong, or G for good."]);
  const take = (next) => {
    const before = item();
    items = next;
    root.classList.remove("em-leaving");
    root.classList.toggle("em-idle", !items.length);
    tellProgress();
    if (before?.item !== item()?.item) pending = null;
    if (!items.length) {
      player.clear();
      const waiting = batchNow()?.waiting;
      say(waiting ? words["{count} clips are still being made."].replace("{count}", waiting) : words["All done here. Thank you!"]);
      return;
    }
    if (before?.item !== item().item) {
      current = Object.keys(item().marks).at(-1) ?? null;
      player.show(item());
      if (item().seen) askWhat();
      else say(words["Watch it to its end to unlock the answers."]);
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
    else refuse(answer, response.status);
  };
  const choose = async (id) => {
    batch = id;
    localStorage.setItem("em-review-batch", id);
    items = [];
    await refresh();
  };

  // A new batch is shown to who has just made it, and to who has nothing left to do. One look after the other: an older
  // answer must not take back what a newer one has told.
  let offered = new Set(), looking = Promise.resolve(), looked = null;
  const load = (made = false) => (looking = looking.catch(() => {}).then(() => look(made)));
  const look = async (made) => {
    const response = await fetch("review/setup");
    const answer = await response.json();
    if (!response.ok) return refuse(answer, response.status);
    const free = made || (setup && !items.length && !batchNow()?.waiting);
    const opened = free ? answer.batches.find((each) => !offered.has(each.id)) : null;
    if (free || !setup) offered = new Set(answer.batches.map((each) => each.id));
    setup = answer;
    words = setup.words;
    document.querySelector("#review-tabs")?.classList.toggle("em-lead", setup.annotator.lead);
    await (looked ??= layout.look());
    player ??= em.reviewPlayer(root, {
      words,
      onPlayed() {
        draw();
        askWhat();
      },
      onRegion(box) {
        change({ region: box });
      },
    });
    $(".em-batch").setAttribute("aria-label", words.Batch);
    $(".em-batch").replaceChildren(...setup.batches.map((each) => make("option", { value: each.id }, each.title)));
    $(".em-note").placeholder = `${words.Note} (N)`;
    $(".em-help summary").textContent = `${words.Keys} (?)`;
    const list = [["Space", "Play or pause"], [", .", "One frame back, on"], ["Z X", "Slower, faster"], ["L", "Loop"], ["I O", "Span: in, out point"], ["Q W E", "Severity 1, 2, 3"], ["R", "Forget the region"], ["N", "Write a note"], ["1 0 2", "Left, same, right"], ["G", "Good"], ["↵", "Done"], ["S", "Skip"], ["U", "Undo"]];
    $(".em-help ul").replaceChildren(...list.map(([name, text]) => make("li", {}, make("kbd", { textContent: name }), words[text])));
    const wanted = Number(localStorage.getItem("em-review-batch"));
    const first = opened ?? setup.batches.find((each) => each.id === wanted) ?? setup.batches[0];
    root.classList.toggle("em-empty", !first);
    if (!first) {
      root.classList.add("em-idle");
      name.show(setup.annotator, words);
      showEmpty(setup, layout.cap);
      return say(words["Nothing to label yet."]);
    }
    $(".em-batch").value = first.id;
    if (first.id !== batch) await choose(first.id);
    else if (!items.length) await refresh();
    name.show(setup.annotator, words);
    keys.send();
  };
  const showEmpty = em.reviewEmpty(root, { begin: () => trigger("act", { act: "examples" }) });
  const name = em.reviewName(root, {
    // What is pressed meanwhile counts where the same clip comes back, which one has seen.
    async onChange() {
      const before = item()?.item;
      early = [];
      batch = null;
      await load().catch(() => {});
      const meanwhile = early;
      early = null;
      if (item()?.item === before) meanwhile.forEach(act);
    },
  });
  $(".em-batch").addEventListener("change", (event) => {
    choose(Number(event.target.value));
    focus();
  });
  $(".em-help summary").addEventListener("click", focus);
  $(".em-note").addEventListener("change", (event) => item() && press("note", { text: (item().note = event.target.value) }));
  $(".em-note").addEventListener("keydown", (event) => !event.isComposing && ["Enter", "Escape"].includes(event.key) && focus());
  window.addEventListener("em-review-changed", () => load(true));
  let seen = false;
  new IntersectionObserver(([entry]) => {
    if (entry.isIntersecting && !seen) {
      focus();
      player?.play();
      load();
    } else if (!entry.isIntersecting && player) player.pause();
    seen = entry.isIntersecting;
  }).observe(root);
  setInterval(() => seen && setup && !items.length && !keys.waiting() && load(), 3000);
};
