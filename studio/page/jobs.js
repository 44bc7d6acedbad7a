// Rows of jobs: a button with data-act says what it does to the job of its row.
em.jobList = (element, trigger) => {
  element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button) return;
    event.preventDefault();
    if (button.dataset.sure && !window.confirm(button.dataset.sure)) return;
    trigger("act", { act: button.dataset.act, job: button.closest("[data-job]").dataset.job });
  });
};
