// A lost connection is waited out: an event of the page that did not arrive is sent again once the server answers, so
// nothing that was chosen or typed is lost. Every event carries a number of its own, by which the server knows one that
// it has already carried out. A server that was started anew may have another page, so this one is loaded again.
{
  const EVENTS = "/run/predict", AGAIN_MS = 1000;
  const LOST = new Set([502, 503, 504]); // a proxy's words for a server that is not there
  const send = window.fetch.bind(window);
  const number = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
  const pause = () => new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  const mark = (lost) => document.documentElement.classList.toggle("em-lost", lost);

  const answering = async () => {
    const { root, api_prefix: prefix, app_id: id } = window.gradio_config;
    for (;;) {
      await pause();
      const answer = await send(`${root}${prefix}/app_id`, { cache: "no-store" }).catch(() => null);
      if (!answer?.ok) continue;
      if ((await answer.json()).app_id === id) return;
      location.reload();
      await new Promise(() => {}); // until it does
    }
  };

  window.fetch = async (target, options) => {
    if (options?.method !== "POST" || !String(target?.url ?? target).includes(EVENTS)) return send(target, options);
    const headers = new Headers(options.headers);
    headers.set("X-Once", number());
    for (;;) {
      const answer = await send(target, { ...options, headers }).catch((error) => {
        if (options.signal?.aborted) throw error;
        return null;
      });
      if (answer && !LOST.has(answer.status)) {
        mark(false);
        return answer;
      }
      mark(true);
      await answering();
    }
  };
}
