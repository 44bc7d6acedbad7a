// The annotator's name: shown, and changed on purpose only, so that keys meant for a clip never end up in it.
em.reviewName = (root, { onChange }) => {
  const COOKIE = "echomimic-annotator", NOBODY = "local";
  const chip = root.querySelector(".em-name"), input = root.querySelector(".em-who");
  let name = "";
  const close = (keep) => {
    if (input.hidden) return;
    input.hidden = true;
    chip.hidden = false;
    const typed = input.value.trim();
    if (keep && typed !== name) {
      document.cookie = `${COOKIE}=${encodeURIComponent(typed)}; path=/; max-age=31536000; SameSite=Lax`;
      onChange();
    }
  };
  chip.addEventListener("click", () => {
    chip.hidden = true;
    input.hidden = false;
    input.value = name;
    input.select();
    input.focus();
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    close(event.key === "Enter");
    root.focus({ preventScroll: true });
  });
  input.addEventListener("blur", () => close(true));
  return {
    show(annotator, words) {
      name = annotator.name === NOBODY ? "" : annotator.name;
      root.querySelector(".em-me").hidden = false;
      chip.disabled = !annotator.chosen;
      input.placeholder = words["Your name"];
      input.setAttribute("aria-label", words["Your name"]);
      chip.replaceChildren(name || words["Your name"]);
      if (annotator.chosen) chip.append(Object.assign(document.createElement("small"), { textContent: words.change }));
    },
  };
};
