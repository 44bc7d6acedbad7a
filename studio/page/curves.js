// Live tuning: PhDA weights over tau and the weights of both groups of negative prompts, with handles that drag.
// Left is noisy and early (tau 1000), right is clean and late (tau 0); every scheduled step is a line.
em.curves = (element, props, trigger, watch) => {
  const LEFT = 34, RIGHT = 14, TOP = 30, TALL = 120, GAP = 52, LOW = 74;
  const PNG_TOP = TOP + TALL + GAP, BOTTOM = PNG_TOP + LOW;
  const MODALITIES = ["text", "image", "audio"];
  let state = null, dragged = null, moved = {}, width = 640;

  const x = (tau) => LEFT + ((1000 - tau) / 1000) * (width - LEFT - RIGHT);
  const tauAt = (clientX) => {
    const area = element.querySelector("svg").getBoundingClientRect();
    const inside = ((clientX - area.left) / area.width) * width;
    return Math.round(Math.min(1000, Math.max(0, 1000 - ((inside - LEFT) / (width - LEFT - RIGHT)) * 1000)));
  };
  const yWeight = (weight) => TOP + TALL * (1 - (weight - 0.4) / 0.65);
  const yBoost = (boost) => PNG_TOP + LOW * (1 - (boost - 0.7) / 3.6);
  const boostAt = (clientY) => {
    const area = element.querySelector("svg").getBoundingClientRect();
    const inside = ((clientY - area.top) / area.height) * (BOTTOM + 24);
    const boost = 0.7 + 3.6 * (1 - (inside - PNG_TOP) / LOW);
    return Math.round(20 * Math.min(4, Math.max(1, boost))) / 20;
  };
  const weight = ({ low, high }, tau) =>
    tau >= high ? 1 : tau <= low ? 0.5 : 0.5 + (0.5 * (tau - low)) / (high - low);
  // Python's round: a half goes to the even neighbour.
  const toEven = (number) => Math.round(number) - (number % 1 === 0.5 && Math.round(number) % 2);
  // As the contract's phases have it: none for a share of 0. What is drawn at rest comes with at_steps from there.
  const motionSteps = () => state.png.motion_share && Math.max(1, toEven(state.png.motion_share * state.taus.length));
  const motionBorder = () => {
    const count = motionSteps(), taus = state.taus;
    return count === 0 ? 1000 : count >= taus.length ? 0 : (taus[count - 1] + taus[count]) / 2;
  };
  const pngOff = () => state.png.mode === "off";

  const line = (name, points) =>
    `<polyline class="em-curve em-${name}" points="${points.map(([tau, y]) => `${x(tau)},${y}`).join(" ")}"/>`;
  const handle = (name, place, text, now, low, high, vertical = "", idle = false) =>
    `<circle class="em-handle em-${name.split(".")[1] ?? name} ${vertical}" data-name="${name}" cx="${place[0]}" ` +
    `cy="${place[1]}" r="8" tabindex="${idle ? -1 : 0}" aria-disabled="${idle}" role="slider" aria-label="${text}" aria-valuemin="${low}" ` +
    `aria-valuemax="${high}" aria-valuenow="${now}"><title>${text}: ${now}</title></circle>`;

  const modality = (name) => {
    const pair = state.phda[name];
    const points = [[1000, 1], [pair.high, 1], [pair.low, pair.high > 0 ? 0.5 : 1], [0, pair.high > 0 ? 0.5 : 1]];
    const dots = state.taus.map((tau) => `<circle cx="${x(tau)}" cy="${yWeight(weight(pair, tau))}" r="2.6"/>`);
    return line(name, points.map(([tau, value]) => [tau, yWeight(value)])) + `<g class="em-dots em-${name}">${dots.join("")}</g>`;
  };
  const handles = (name) => {
    const pair = state.phda[name], words = state.words;
    return (
      handle(`phda.${name}.low`, [x(pair.low), yWeight(0.5)], `${words[name]}: ${words.low}`, pair.low, 0, 1000) +
      handle(`phda.${name}.high`, [x(pair.high), yWeight(1)], `${words[name]}: ${words.high}`, pair.high, 0, 1000)
    );
  };
  const negatives = () => {
    const { boost, detail_below: detail } = state.png, border = motionBorder(), words = state.words;
    const up = yBoost(boost), flat = yBoost(1);
    return (
      line("motion", [[1000, up], [border, up], [border, flat - 1], [0, flat - 1]]) +
      line("detail", [[1000, flat + 1], [detail, flat + 1], [detail, up + 2], [0, up + 2]]) +
      handle("png.motion_share", [x(border), (up + flat) / 2], words.motion, state.png.motion_share, 0, 1, "", pngOff()) +
      handle("png.detail_below", [x(detail), (up + flat) / 2], words.detail, detail, 0, 1000, "", pngOff()) +
      handle("png.boost", [x(1000), up], words.boost, boost, 1, 4, "em-vertical", pngOff())
    );
  };

  const draw = () => {
    width = element.clientWidth || width; // so that letters are as large on a phone
    const words = state.words;
    const focus = document.activeElement?.dataset?.name;
    const steps = state.taus.map((tau, step) => {
      return `<line class="em-step-line" data-step="${step}" x1="${x(tau)}" x2="${x(tau)}" y1="${TOP - 4}" y2="${BOTTOM + 4}"/>`;
    });
    const ticks = [1000, 800, 600, 400, 200, 0].map(
      (tau) => `<text data-tau="${tau}" x="${x(tau)}" y="${BOTTOM + 20}" text-anchor="middle">${tau}</text>`,
    );
    const scale = [[yWeight(1), "1"], [yWeight(0.5), "½"], [yBoost(1), "1"], [yBoost(4), "4"]].map(
      ([y, text]) => `<text x="${LEFT - 14}" y="${y + 4}" text-anchor="end">${text}</text>`,
    );
    const keys = [...MODALITIES.map((name) => [name, words[name], `${state.phda[name].low}–${state.phda[name].high}`]),
      ["motion", words.motion_group, `${motionSteps()} / ${state.taus.length}`],
      ["detail", words.detail_group, `τ < ${state.png.detail_below}`],
      ["boost", words.boost, pngOff() ? words.off : `× ${state.png.boost}`]];
    const note = (name) => state.notes[name === "detail" ? "png" : name] ?? "";
    element.querySelector(".em-curves").innerHTML =
      `<svg viewBox="0 0 ${width} ${BOTTOM + 24}" class="${state.phda.enabled ? "" : "em-phda-off"} ${state.png.mode === "off" ? "em-png-off" : ""}">` +
      `<text class="em-plot-title" x="${LEFT}" y="14">${words.weights}</text>` +
      `<text class="em-plot-title" x="${LEFT}" y="${PNG_TOP - 10}">${words.negatives}</text>` +
      steps.join("") + ticks.join("") + scale.join("") +
      `<g class="em-phda">${MODALITIES.map(modality).join("")}${MODALITIES.map(handles).join("")}</g>` +
      `<g class="em-png">${negatives()}</g></svg>` +
      `<ul>${keys.map(([name, text, now]) => `<li class="em-${name}"><b>${text}</b> ${now}${note(name) ? `<em role="status">${note(name)}</em>` : ""}</li>`).join("")}</ul>`;
    if (pngOff())
      element.querySelector("li.em-boost").insertAdjacentHTML("beforeend", ` <button type="button" class="em-small em-png-on">${words.switch_on}</button>`);
    if (focus) element.querySelector(`[data-name="${focus}"]`)?.focus();
  };

  const set = (name, value) => {
    const [section, ...path] = name.split("."), group = state[section];
    if (section === "phda") {
      const pair = group[path[0]];
      pair[path[1]] = value;
      if (path[1] === "low" && pair.high < value) set(`phda.${path[0]}.high`, value);
      if (path[1] === "high" && pair.low > value) set(`phda.${path[0]}.low`, value);
    } else group[path[0]] = value;
    moved[name] = value;
  };
  const valueAt = (name, event) => {
    if (name === "png.boost") return boostAt(event.clientY);
    const tau = tauAt(event.clientX);
    if (name !== "png.motion_share") return tau;
    return Math.max(1, state.taus.filter((step) => step >= tau).length) / state.taus.length;
  };
  const release = () => {
    if (Object.keys(moved).length) {
      const data = { changes: moved, at_s: em.playhead() };
      trigger("tune", data);
      trigger("redraw", data);
    }
    moved = {};
  };

  element.addEventListener("pointerdown", (event) => {
    const grabbed = event.target.closest('.em-handle:not([aria-disabled="true"])');
    if (!grabbed) return;
    event.preventDefault();
    grabbed.focus();
    dragged = grabbed.dataset.name;
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("click", (event) => {
    if (!event.target.closest(".em-png-on")) return;
    set("png.mode", "phase");
    draw();
    release();
  });
  element.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    set(dragged, valueAt(dragged, event));
    draw();
  });
  for (const end of ["pointerup", "pointercancel"])
    element.addEventListener(end, () => {
      if (dragged) release();
      dragged = null;
    });
  element.addEventListener("keydown", (event) => {
    const name = event.target.closest('.em-handle:not([aria-disabled="true"])')?.dataset.name;
    const sign = { ArrowLeft: 1, ArrowUp: 1, ArrowRight: -1, ArrowDown: -1 }[event.key];
    if (!name || !sign) return;
    event.preventDefault();
    const [size, low, high] = { "png.boost": [0.05, 1, 4], "png.motion_share": [-1 / state.taus.length, 1 / state.taus.length, 1] }[name] ?? [10, 0, 1000];
    const current = name.split(".").reduce((group, key) => group[key], state);
    set(name, Math.round(1000 * Math.min(high, Math.max(low, current + sign * size * (event.shiftKey ? 5 : 1)))) / 1000);
    draw();
  });
  element.addEventListener("keyup", (event) => event.key.startsWith("Arrow") && release());

  // The running job's step, as the progress card has it.
  setInterval(() => {
    const now = document.querySelector(".em-progress")?.dataset.step;
    for (const line of element.querySelectorAll(".em-step-line")) line.classList.toggle("em-now", line.dataset.step === now);
  }, 500);

  const take = () => {
    if (dragged || !props.value) return;
    state = structuredClone(props.value);
    draw();
  };
  watch("value", take);
  new ResizeObserver(() => state && !dragged && element.clientWidth !== width && draw()).observe(element);
  take();
};
