// Key presses on their way to the server: kept by the browser until the server says that it keeps them, in order.
// Sending one twice is the same as once, since it has an id of its own.
em.reviewKeys = ({ annotator, onAnswer, onState }) => {
  const STORE = "em-review-unsent", AGAIN_MS = 1500;
  let login = null; // Where to log in, while the server does not know who this is.
  let sending = false, timer = null;
  const all = () => JSON.parse(localStorage.getItem(STORE) ?? "[]");
  const mine = () => all().filter((entry) => entry.annotator === annotator());
  const keep = (entries) => localStorage.setItem(STORE, JSON.stringify(entries));
  const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  const send = async () => {
    clearTimeout(timer);
    if (sending) return;
    const waiting = mine();
    onState(waiting.length, login);
    if (!waiting.length) return;
    sending = true;
    const batch = waiting[0].batch, now = waiting.filter((entry) => entry.batch === batch).slice(0, 100);
    let answer = null;
    try {
      const response = await fetch(`review/keys/${batch}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(now.map((entry) => entry.press)),
      });
      const loggedOut = [401, 403].includes(response.status);
      login = loggedOut ? ((await response.json().catch(() => ({}))).login ?? "./") : null;
      answer = response.ok ? await response.json() : null;
      if (response.status === 400) answer = { kept: [], refused: now.map(({ press }) => ({ client_id: press.client_id })), items: null };
    } catch {
      answer = null; // The server is away: what is kept here is sent again.
    }
    sending = false;
    if (!answer) {
      onState(waiting.length, login);
      timer = setTimeout(send, AGAIN_MS);
      return;
    }
    const settled = new Set([...answer.kept, ...answer.refused.map((entry) => entry.client_id)]);
    keep(all().filter((entry) => !settled.has(entry.press.client_id)));
    onState(mine().length, login);
    onAnswer(batch, answer, mine().length === 0);
    if (mine().length) send();
  };
  return {
    press(batch, values) {
      const entry = { annotator: annotator(), batch, press: { client_id: newId(), ...values } };
      keep([...all(), entry]);
      send();
    },
    send,
    waiting: () => mine().length,
  };
};
