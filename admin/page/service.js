// A service: a line that says how it stands, and below it its endpoints.

const few = 12;  // endpoints that are shown whatever they are like
const many = 40; // unusual ones that are shown at most
const some = 5;  // of which those that only deserve a note

const columns = [["Endpoint", "name"], ["State", "state"], ["Share", ""], ["Requests", "number rate"], ["Latency", "number"], ["Failed", "number"], ["In flight", "number"]];

class ServiceView {
  constructor(s) {
    this.name = s.service;
    this.title = make("span", { class: "title" });
    this.word = make("b", { class: "word" });
    this.verdict = make("bdi");
    this.trouble = make("span", { class: "verdict" }, this.word, " ", this.verdict);
    this.usable = make("span", { class: "figure usable" });
    this.rate = make("span", { class: "figure" });
    this.failed = make("span", { class: "figure" });
    this.latency = make("span", { class: "figure latency" });
    this.spark = spark(120);
    this.head = make("button", { class: "head", type: "button", "aria-expanded": "false" }, this.title,
      this.usable, this.rate, this.failed, this.latency, this.spark, this.trouble);
    this.head.addEventListener("click", () => { shown.open.set(this.name, !this.isOpen()); render(); });
    this.facts = make("p", { class: "facts" });
    this.titles = make("thead", {}, make("tr", {}, ...columns.map(([text, kind]) => make("th", { scope: "col", class: kind }, text))));
    this.table = make("table", {}, make("colgroup", {}, ...columns.map(([text]) => make("col", { class: `c-${text.toLowerCase().replace(" ", "-")}` }))), this.titles);
    this.body = make("div", { class: "body" }, this.facts, make("div", { class: "wide" }, this.table));
    this.node = make("section", { class: "service" }, make("h2", {}, this.head), this.body);
    this.node.view = this;
  }

  isOpen() {
    if (shown.filter) return shown.open.get(this.name) ?? true;
    return shown.open.get(this.name) ?? (this.severity === "outage" || this.severity === "warning" || heard.status.services.length <= 4);
  }

  update(s) {
    const problem = worst(s.service);
    this.severity = problem?.severity;
    const attempts = s.endpoints.reduce((n, e) => n + e.window_attempts, 0);
    const failures = s.endpoints.reduce((n, e) => n + e.window_failures, 0);
    const track = trackOf(s.service);
    const perSecond = track.rate();
    put(this.title, s.service);
    mark(this.node, "data-severity", this.severity);
    put(this.usable, `${s.fallback ? 0 : s.usable} of ${s.total} usable`);
    show(this.trouble, this.severity);
    put(this.word, this.severity);
    put(this.verdict, problem?.what);
    put(this.rate, perSecond === null ? "" : rate(perSecond));
    put(this.failed, attempts ? `${percent(failures / attempts)} failed` : "no requests");
    mark(this.failed, "class", `figure${failures / attempts >= 0.01 ? " bad" : attempts ? "" : " soft"}`);
    const measured = s.endpoints.filter((e) => e.measured && e.window_attempts > 0);
    const mean = ratio(measured.reduce((n, e) => n + e.last_latency_seconds * e.window_attempts, 0), measured.reduce((n, e) => n + e.window_attempts, 0));
    put(this.latency, measured.length ? latency(mean) : "");
    const rates = track.rates();
    draw(this.spark, rates, most(rates));

    const open = this.isOpen();
    mark(this.head, "aria-expanded", open);
    show(this.body, open);
    if (!open) return;
    put(this.facts, facts(s));
    const list = this.choose(s);
    const scale = most(list.flatMap((e) => trackOf(s.service, e).latencies()));
    show(this.titles, list.length > 0);
    const rows = list.map((e) => ({ e, s, scale }));
    const rest = this.rest(s, list);
    if (rest) rows.push({ rest, name: this.name });
    keyed(this.table, rows, (r) => r.rest ? "rest" : identity(r.e), (r) => r.rest ? new RestView(r) : new EndpointView(r), this.titles);
  }

  // choose is which endpoints are shown.
  choose(s) {
    const all = s.endpoints, odd = all.filter(unsound);
    if (shown.filter && !matches(s.service, shown.filter)) return all.filter((e) => endpointMatches(e, shown.filter)).slice(0, 300);
    if (shown.all.has(this.name)) return all;
    if (all.length <= few && !shown.unusual) return all;
    // Those first of which there is most to say; those that are only slow need not fill the page.
    odd.sort((a, b) => weight(a) - weight(b));
    const serious = odd.filter((e) => weight(e) < 1 || e.state === "probing").length;
    return odd.slice(0, Math.min(many, Math.max(serious, some)));
  }

  // rest says what the endpoints are like that are not shown, or how to show fewer.
  rest(s, list) {
    if (list.length === s.endpoints.length) return list.length > few && !shown.filter ? "Show only what is unusual" : "";
    const visible = new Set(list);
    const others = s.endpoints.filter((e) => !visible.has(e)), sound = others.filter((e) => e.sound);
    let text = `${list.length ? `${others.length} more` : plural(others.length, "endpoint")}: `;
    if (sound.length) {
      text += `${sound.length === others.length ? "" : `${sound.length} `}${sound.length === 1 ? "takes its" : "take their"} share of the traffic`;
      const shares = sound.map((e) => e.share), latencies = sound.filter((e) => e.measured).map((e) => e.last_latency_seconds);
      if (Math.max(...shares) > 0) text += `, ${range(percent(Math.min(...shares)), percent(Math.max(...shares)))}${sound.length > 1 ? " each" : ""}`;
      if (latencies.length) text += `, in ${range(latency(Math.min(...latencies)), latency(Math.max(...latencies)))}`;
      if (sound.length < others.length) text += "; ";
    }
    if (sound.length < others.length) text += `${others.length - sound.length} ${others.length - sound.length === 1 ? "does" : "do"} not`;
    return `${text} – show all`;
  }
}

// facts are what there is to say of a service in a line.
function facts(s) {
  const now = new Date(heard.status.at), b = s.budget, src = s.source;
  const parts = [s.policy];
  if (!src.known) parts.push(`${s.source_kind} has not answered yet`);
  else if (src.stored) parts.push(`set from disk, as of ${ago(src.last_success, now)}`);
  else if (s.source_kind === "static") parts.push("static");
  else parts.push(`${s.source_kind} ${src.unknown ? "does not know it, as of" : "answered"} ${ago(src.last_success, now)}`);
  for (const l of heard.status.listeners.filter((l) => l.service === s.service)) parts.push(`${l.address} (${l.protocol}), ${plural(l.active, "client")}`);
  parts.push(`${plural(s.connections, "connection")} to endpoints${s.pending ? `, ${s.pending} being made` : ""}`);
  parts.push(`${b.retries ? `${b.retries} ${b.retries === 1 ? "retry" : "retries"} for ${plural(b.requests, "request")} lately` : "no retries lately"}, the budget has ${Math.floor(b.left)} left`);
  if (b.refused) parts.push(`${plural(b.refused, "retry").replace("retrys", "retries")} refused by it since the start`);
  if (s.refused) parts.push(`${plural(s.refused, "request")} refused by limits in the last 10s`);
  if (s.adaptive) parts.push(`learned limit ${s.adaptive.limit}, ${s.adaptive.in_flight} in flight`);
  return parts.join(" · ");
}

// A RestView is the row that stands for all that are not shown.
class RestView {
  constructor({ name }) {
    this.button = make("button", { type: "button", class: "more" });
    this.button.addEventListener("click", () => { if (!shown.all.delete(name)) shown.all.add(name); render(); });
    this.node = make("tbody", {}, make("tr", { class: "rest" }, make("td", { colspan: columns.length }, this.button)));
  }
  update({ rest }) { put(this.button, rest); }
}
