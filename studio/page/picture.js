// A picture with frames around its faces: click a frame to choose it, or press "Draw it" and drag a box by hand.
window.em = window.em ?? {};

em.placeBox = (frame, box) => {
  const [x0, y0, x1, y1] = box.map((value) => 100 * value);
  Object.assign(frame.style, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
};

// The frame of `kind` that is drawn by hand. A found face keeps its own, to be chosen again.
em.drawnFrame = (picture, kind) => {
  let frame = picture.querySelector(kind === "face" ? ".em-face.em-drawn" : `.em-${kind}`);
  if (!frame) {
    frame = document.createElement("i");
    frame.className = `em-${kind}`;
    picture.append(frame);
  }
  frame.classList.add("em-drawn");
  if (kind === "face")
    for (const other of picture.querySelectorAll(".em-face")) other.classList.toggle("em-chosen", other === frame);
  return frame;
};

// The face that was found, or the first one, speaks; what was drawn by hand is gone.
em.chooseFound = (picture, face = picture.querySelector(".em-face[data-box]:not(.em-drawn)")) => {
  picture.querySelector(".em-face.em-drawn")?.remove();
  for (const other of picture.querySelectorAll(".em-face")) other.classList.toggle("em-chosen", other === face);
  const lips = picture.querySelector(".em-lips");
  if (!face?.dataset.lips) lips?.remove();
  else if (lips) {
    em.placeBox(lips, face.dataset.lips.split(",").map(Number));
    lips.classList.remove("em-drawn");
  }
};

// Called when the box's text changes, so that numbers typed by hand are drawn too.
em.drawBox = (cardId, kind, text) => {
  const picture = document.querySelector(`#${cardId} .em-picture`);
  const box = (text ?? "").split(",").map(Number);
  if (picture && box.length === 4 && box.every(Number.isFinite)) em.placeBox(em.drawnFrame(picture, kind), box);
};

em.pictureCard = (element, trigger) => {
  let start = null, drew = false;
  const picture = () => element.querySelector(".em-picture");
  const draws = (on) => {
    picture().classList.toggle("em-drawing", on);
    element.querySelector(".em-draw").setAttribute("aria-pressed", on);
  };
  // What a drag draws: what is chosen beside the picture, or else what the picture is for.
  const kind = () =>
    element.closest(".em-card").querySelector(".em-draws input:checked")?.value ?? picture().dataset.draws;
  const place = (event) => {
    const area = picture().getBoundingClientRect();
    const inside = (value) => Math.min(1, Math.max(0, value));
    return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
  };
  const boxTo = (event) => {
    const [x, y] = place(event);
    const box = [Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)];
    return box[2] - box[0] > 0.02 && box[3] - box[1] > 0.02 ? box : null;
  };
  const choose = (face) => {
    em.chooseFound(picture(), face);
    trigger("choose", { kind: "face", box: face.dataset.box.split(",").map(Number) });
  };
  element.addEventListener("pointerdown", (event) => {
    drew = false;
    if (!event.target.closest(".em-picture.em-drawing") || event.button !== 0) return;
    event.preventDefault();
    start = place(event);
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    const box = start && boxTo(event);
    if (box) em.placeBox(em.drawnFrame(picture(), kind()), box);
  });
  element.addEventListener("pointercancel", () => (start = null));
  element.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = boxTo(event);
    start = null;
    drew = true;
    if (!box) return;
    trigger("choose", { kind: kind(), box });
    draws(false); // so that a finger scrolls the page again
  });
  element.addEventListener("click", (event) => {
    if (event.target.closest(".em-draw")) draws(!picture().classList.contains("em-drawing"));
    else if (event.target.closest(".em-found")) {
      em.chooseFound(picture());
      draws(false);
      trigger("choose", { kind: "", box: null });
    } else if (!drew && picture()?.dataset.draws === "face" && !picture().classList.contains("em-drawing")) {
      const hits = document.elementsFromPoint(event.clientX, event.clientY);
      const face = hits.find((hit) => hit.matches(".em-face[data-box]:not(.em-drawn)"));
      if (face) choose(face);
    }
  });
  element.addEventListener("keydown", (event) => {
    const face = event.target.closest(".em-face[data-box]:not(.em-drawn)");
    if (face && picture().dataset.draws === "face" && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      choose(face);
    }
  });
};
