// The finished video; holding a button or its key shows the one before at the same moment.
em.player = (element) => {
  const videos = () => [element.querySelector(".em-now"), element.querySelector(".em-before")];
  const compare = (on) => {
    const [now, before] = videos();
    if (!now || !before) return;
    if (on) {
      before.currentTime = Math.min(now.currentTime, before.duration || Infinity);
      before.muted = now.muted;
      before.volume = now.volume;
      before.controls = true;
      if (!now.paused) before.play().catch(() => {});
      now.dataset.muted = now.muted;
      now.muted = true;
    } else if (before.dataset.shown) {
      now.currentTime = Math.min(before.currentTime, now.duration || Infinity);
      before.pause();
      now.muted = now.dataset.muted === "true";
    }
    before.dataset.shown = on ? "1" : "";
    element.querySelector(".em-player").classList.toggle("em-comparing", on);
  };
  const isHold = (event) => event.target.closest(".em-hold");
  element.addEventListener("pointerdown", (event) => {
    if (!isHold(event)) return;
    event.target.setPointerCapture(event.pointerId);
    compare(true);
  });
  for (const end of ["pointerup", "pointercancel"])
    element.addEventListener(end, (event) => isHold(event) && compare(false));
  element.addEventListener("keydown", (event) => {
    if (!isHold(event) || !["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    if (!event.repeat) compare(true);
  });
  element.addEventListener("keyup", (event) => isHold(event) && compare(false));
};

em.playhead = () => document.querySelector("#result-video .em-now")?.currentTime ?? 0;
