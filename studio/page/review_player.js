// The review tab's player: one clip, or two in step; loop, speed, frame steps, a timeline with spans, a drawn region.
em.reviewPlayer = (root, { onRegion, onPlayed, words }) => {
  const SPEEDS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];
  const ALMOST_S = 0.2;
  const stage = root.querySelector(".em-stage"), line = root.querySelector(".em-timeline");
  const shelf = root.querySelector(".em-shelf"), clock = root.querySelector(".em-frame");
  let item = null, videos = [], played = false, start = null, region = null;
  let speed = Number(localStorage.getItem("em-review-speed")) || 1;
  let loop = localStorage.getItem("em-review-loop") !== "off";
  const loaded = new Map();

  const load = (wanted) => {
    if (!loaded.has(wanted.item)) {
      const made = wanted.clips.map((clip, index) => {
        const video = document.createElement("video");
        Object.assign(video, { src: clip.url, preload: "auto", playsInline: true, muted: index > 0 });
        video.style.aspectRatio = `${clip.width_px} / ${clip.height_px}`;
        shelf.append(video);
        return video;
      });
      loaded.set(wanted.item, made);
    }
    return loaded.get(wanted.item);
  };
  const length = () => item.clips[0].frames / item.clips[0].fps;
  const now = () => videos[0]?.currentTime ?? 0;
  const frame = () => Math.min(item.clips[0].frames - 1, Math.floor(now() * item.clips[0].fps + 1e-3));
  const covered = (video) => {
    let sum = 0;
    for (let index = 0; index < video.played.length; index++) sum += video.played.end(index) - video.played.start(index);
    return sum >= Math.max(0.01, (video.duration || Infinity) - ALMOST_S);
  };
  const say = () => {
    if (!item) return;
    clock.textContent = `${words.frame} ${frame() + 1} / ${item.clips[0].frames} · ${words.speed} ${speed}× ${loop ? `· ${words.loop}` : ""}`;
    line.querySelector("i").style.left = `${(100 * now()) / length()}%`;
    if (!played && videos.length && videos.every((video) => covered(video))) {
      played = true;
      onPlayed();
    }
  };
  const setUp = () => {
    for (const video of videos) Object.assign(video, { playbackRate: speed, loop: loop && videos.length === 1 });
    say();
  };
  const play = () => videos.forEach((video) => video.play().catch(() => {}));
  const pause = () => videos.forEach((video) => video.pause());
  const seek = (time) => {
    const wanted = Math.min(Math.max(0, time), Math.max(0, length() - 1e-3));
    for (const video of videos) if (video.currentTime !== wanted) video.currentTime = wanted;
    say();
  };
  // A pair starts over when both are through, so that they stay in step.
  const ended = () => {
    say();
    if (loop && videos.length > 1 && videos.every((video) => video.ended)) {
      seek(0);
      play();
    }
  };

  const emptyStage = () => stage.querySelectorAll("figure").forEach((figure) => figure.remove());

  const player = {
    show(next) {
      pause();
      item = next;
      videos = load(next);
      played = Boolean(next.seen);
      emptyStage();
      stage.classList.toggle("em-pair", videos.length > 1);
      videos.forEach((video) => {
        const figure = document.createElement("figure");
        figure.append(video);
        stage.append(figure);
        video.ontimeupdate = video.onseeked = say;
        video.onended = ended;
      });
      region = document.createElement("b");
      region.className = "em-region";
      region.hidden = true;
      stage.querySelector("figure").append(region);
      seek(0);
      setUp();
      play();
    },
    // Loads those of `items` that are not loaded, and lets go of all others.
    keepOnly(items) {
      items.forEach(load);
      const ids = new Set(items.map((kept) => kept.item));
      for (const [id, made] of loaded)
        if (!ids.has(id)) {
          for (const video of made) {
            video.removeAttribute("src");
            video.remove();
          }
          loaded.delete(id);
        }
    },
    clear() {
      pause();
      item = null;
      videos = [];
      emptyStage();
      clock.textContent = "";
    },
    play,
    pause,
    toggle: () => (videos.some((video) => !video.paused && !video.ended) ? pause() : play()),
    step(count) {
      pause();
      seek((frame() + count + 0.5) / item.clips[0].fps);
    },
    faster(by) {
      speed = SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, SPEEDS.indexOf(speed) + by))];
      localStorage.setItem("em-review-speed", speed);
      setUp();
    },
    turnLoop() {
      loop = !loop;
      localStorage.setItem("em-review-loop", loop ? "on" : "off");
      setUp();
    },
    // The start and the end of the frame that is shown.
    frameTimes: () => [frame() / item.clips[0].fps, (frame() + 1) / item.clips[0].fps],
    length,
    played: () => played,
    // `pending` is a mark whose issue is still to be said.
    draw(marks, current, pending) {
      if (!item) return;
      line.querySelectorAll("u").forEach((bar) => bar.remove());
      const shown = [...Object.entries(marks), ...(pending?.span_s ? [["", pending]] : [])];
      shown.forEach(([id, mark], index) => {
        const [from, to] = mark.span_s ?? [0, length()];
        const bar = document.createElement("u");
        bar.className = !id ? "em-pending" : id === current ? "em-current" : "";
        Object.assign(bar.style, { left: `${(100 * from) / length()}%`, width: `${(100 * (to - from)) / length()}%`, top: `${4 + 4 * (index % 4)}px` });
        line.append(bar);
      });
      const box = pending?.region ?? marks[current]?.region;
      region.hidden = !box;
      region.classList.toggle("em-pending", Boolean(pending?.region));
      if (box) em.placeBox(region, box);
    },
  };

  const place = (event) => {
    const area = stage.querySelector("figure").getBoundingClientRect();
    const inside = (value) => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000;
    return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
  };
  const boxTo = (event) => {
    const [x, y] = place(event);
    return [Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)];
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !item || item.kind === "pairs" || !event.target.closest("figure")) return;
    event.preventDefault();
    start = place(event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!start) return;
    region.hidden = false;
    em.placeBox(region, boxTo(event));
  });
  stage.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = boxTo(event);
    start = null;
    if (box[2] - box[0] > 0.02 && box[3] - box[1] > 0.02) onRegion(box);
    else player.toggle();
  });
  stage.addEventListener("pointercancel", () => (start = null));
  line.addEventListener("pointerdown", (event) => {
    const area = line.getBoundingClientRect();
    if (item) seek(((event.clientX - area.left) / area.width) * length());
  });
  setInterval(say, 60);
  return player;
};
