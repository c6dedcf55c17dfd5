// What the page remembers: what it has heard last, what it has heard over time, and what its reader
// has chosen to see.

const kept = 120; // events, which are about a second apart

// A Track is what has been heard of an endpoint or a service over time.
class Track {
  samples = []; // {at, attempts, latency}; latency is null where nothing was measured
  push(at, attempts, measured) {
    const last = this.samples.at(-1);
    if (last && attempts < last.attempts) this.samples = []; // it is another one
    const idle = last && attempts === last.attempts;
    this.samples.push({ at, attempts, latency: idle ? null : measured });
    if (this.samples.length > kept) this.samples.shift();
  }
  // rate is attempts per second, lately.
  rate() {
    const last = this.samples.at(-1), first = this.samples.at(-6) ?? this.samples[0];
    return last && last.at > first.at ? (last.attempts - first.attempts) * 1000 / (last.at - first.at) : null;
  }
  latencies() { return this.samples.map((s) => s.latency); }
  rates() {
    return this.samples.map((s, i, all) => i > 0 ? (s.attempts - all[i - 1].attempts) * 1000 / Math.max(1, s.at - all[i - 1].at) : null);
  }
}

const heard = {
  status: null, // the last event
  at: 0,        // when it came, by performance.now()
  tracks: new Map(),
};

const shown = {
  open: new Map(),    // services, by what their reader has said
  all: new Set(),     // services whose endpoints are all shown
  details: new Set(), // endpoints, by trackKey
  lists: new Set(),   // lists that are shown whole
  filter: "",
  unusual: null,      // only what is unusual; null until it is known how much there is
  earlier: false,     // also earlier decisions
};

// identity tells an endpoint from others, also from one of the same ID that has left and still has leases.
const identity = (e) => `${e.id}\n${e.address}\n${e.state === "retired"}`;
const trackKey = (service, e) => `${service}\n${e ? identity(e) : ""}`;
const trackOf = (service, e) => heard.tracks.get(trackKey(service, e)) ?? new Track();

// take remembers an event.
function take(status) {
  if (!heard.status) byId("problems").replaceChildren(); // what was there from the beginning
  heard.status = status;
  heard.at = performance.now();
  const at = Date.parse(status.at), next = new Map();
  const push = (key, attempts, measured) => {
    const track = heard.tracks.get(key) ?? new Track();
    track.push(at, attempts, measured);
    next.set(key, track);
  };
  for (const s of status.services) {
    let attempts = 0;
    for (const e of s.endpoints) {
      attempts += e.counters.attempts;
      push(trackKey(s.service, e), e.counters.attempts, e.measured ? e.last_latency_seconds || e.latency_seconds : null);
    }
    push(trackKey(s.service), attempts, null);
  }
  heard.tracks = next;
  shown.unusual ??= status.services.length > 30;
}

// unsound is an endpoint that somebody may want to know something about.
const unsound = (e) => !e.sound && e.state !== "spare";

// word is how an endpoint is, and tone how that is to be seen.
function word(e) {
  if (e.state !== "usable") return e.state;
  if (e.sound) return "usable";
  if (/it fails/.test(e.verdict)) return "failing";
  if (/it is slow/.test(e.verdict)) return "slow";
  return e.paused_seconds > 0 ? "paused" : "starting";
}
const tones = {
  ejected: "bad", down: "bad", failing: "bad", probing: "warn", slow: "warn", paused: "warn",
  drained: "note", starting: "note", spare: "soft", retired: "soft",
};

// weight orders endpoints by how much there is to say of them.
const weight = (e) => ({ bad: 0, warn: 1, note: 2 }[tones[word(e)]] ?? 3);

// worst is the worst that there is to say of a service, or nothing.
const worst = (service) => heard.status.problems?.find((p) => p.service === service);

const matches = (text, filter) => text.toLowerCase().includes(filter);
const endpointMatches = (e, filter) => matches(`${e.id} ${e.address} ${e.zone ?? ""} ${word(e)} ${e.verdict}`, filter);
