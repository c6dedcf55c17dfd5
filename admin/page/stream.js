// Where the page hears from. When it hears nothing it says so and how old it is, and tries again.

const patience = 10e3; // ms without an event; a large status comes less often than every second
const rest = 60e3;     // ms after which a page that nobody sees stops listening

let stream = null, wait = 1e3, again = 0, unseen = 0, asleep = false, build = null;

function listen() {
  asleep = false;
  stream?.close();
  clearTimeout(again);
  stream = new EventSource("/events");
  stream.addEventListener("status", (event) => {
    const status = JSON.parse(event.data);
    const now = `${status.build.version} ${status.build.revision}`;
    build ??= now;
    if (build !== now) { location.reload(); return; } // another sidecar has another page
    wait = 1e3;
    take(status);
    render();
    tell();
  });
  stream.addEventListener("error", () => {
    stream.close();
    stream = null;
    again = setTimeout(listen, wait);
    wait = Math.min(wait * 1.5, 10e3);
    tell();
  });
}

// tell says how old the page is.
function tell() {
  if (asleep) return;
  const age = performance.now() - heard.at, link = byId("link");
  const lost = !stream || age > patience;
  if (!heard.status) {
    if (lost) { mark(link, "data-state", "lost"); put(link, "Not live: no connection, or too many pages listen. Trying again."); }
    return;
  }
  const at = time(new Date(heard.status.at));
  document.body.classList.toggle("lost", lost);
  mark(link, "data-state", lost ? "lost" : "live");
  put(link, lost ? `Connection lost. As of ${at}, ${span(age / 1000)} old. Trying again.` : `live, as of ${at}`);
  if (lost) headline("lost", `No news for ${span(age / 1000)}; before: ${heard.status.headline.text}`);
}

// sleep is for a page that nobody sees.
function sleep() {
  asleep = true;
  stream?.close();
  stream = null;
  clearTimeout(again);
  document.title = `asleep – ${document.title}`;
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(sleep, rest);
  else if (!stream) listen();
});

setInterval(tell, 1000);
listen();
