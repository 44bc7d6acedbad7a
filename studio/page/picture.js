// A picture with frames around its faces: click a frame to choose it, or drag to draw the box by hand.
window.em = window.em ?? {};

em.placeBox = (frame, box) => {
  const [x0, y0, x1, y1] = box.map((value) => 100 * value);
  Object.assign(frame.style, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
};

em.chosenFrame = (picture, kind) => {
  let frame = picture.querySelector(kind === "face" ? ".em-face.em-chosen" : `.em-${kind}`);
  if (!frame) {
    frame = document.createElement("i");
    frame.className = kind === "face" ? "em-face em-chosen" : `em-${kind}`;
    picture.append(frame);
  }
  return frame;
};

// Called when the box's text changes, so that numbers typed by hand are drawn too.
em.drawBox = (cardId, kind, text) => {
  const picture = document.querySelector(`#${cardId} .em-picture`);
  const box = (text ?? "").split(",").map(Number);
  if (picture && box.length === 4 && box.every(Number.isFinite)) em.placeBox(em.chosenFrame(picture, kind), box);
};

em.pictureCard = (element, trigger) => {
  let start = null;
  const picture = () => element.querySelector(".em-picture");
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
  const choose = (frame) => {
    for (const other of element.querySelectorAll(".em-face")) other.classList.toggle("em-chosen", other === frame);
    const lips = picture().querySelector(".em-lips");
    if (lips && frame.dataset.lips) em.placeBox(lips, frame.dataset.lips.split(",").map(Number));
    trigger("choose", { kind: "face", box: frame.dataset.box.split(",").map(Number) });
  };
  element.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".em-picture") || event.button !== 0) return;
    event.preventDefault();
    start = place(event);
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    const box = start && boxTo(event);
    if (box) em.placeBox(em.chosenFrame(picture(), kind()), box);
  });
  element.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = boxTo(event);
    const clicked = document.elementsFromPoint(event.clientX, event.clientY).find((hit) => hit.matches(".em-face"));
    start = null;
    if (box) trigger("choose", { kind: kind(), box });
    else if (clicked?.dataset.box && picture().dataset.draws === "face") choose(clicked);
  });
  element.addEventListener("keydown", (event) => {
    const frame = event.target.closest(".em-face[data-box]");
    if (frame && picture().dataset.draws === "face" && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      choose(frame);
    }
  });
};
