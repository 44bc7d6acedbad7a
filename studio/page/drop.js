// A video that is dropped beside the inputs goes to the hidden upload that restores its settings.
addEventListener("dragover", (event) => {
  if (event.dataTransfer?.types?.includes("Files")) event.preventDefault();
});
addEventListener("drop", (event) => {
  const file = event.dataTransfer?.files?.[0];
  if (!file || event.target.closest?.(".em-takes-files")) return;
  event.preventDefault();
  const input = document.querySelector("input[type=file]:has(+ #dropped-video)");
  if (!input || !/\.mp4$/i.test(file.name)) return;
  const list = new DataTransfer();
  list.items.add(file);
  input.files = list.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
