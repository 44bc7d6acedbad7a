// Rows of jobs: a button with data-act says what it does to the job of its row.
em.jobList = (element, trigger) => {
  element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button) return;
    event.preventDefault();
    if (button.dataset.sure && !window.confirm(button.dataset.sure)) return;
    const row = button.closest("[data-job]");
    trigger("act", { act: button.dataset.act, job: row.dataset.job, state: row.dataset.state });
  });
};
