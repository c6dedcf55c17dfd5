// The page as a whole: how the sidecar stands, its services, and what has been decided.

function render() {
  const s = heard.status;
  if (!s) return;
  standing(s);
  services(s);
  lists(s);
  decisions(s);
  show(byId("plain"), false);
  show(byId("live"), true);
}

// headline says how it stands, or that nobody knows.
function headline(state, text) {
  const host = byId("host").textContent || location.host;
  document.title = `${printable(text)} – sidecar ${host}`;
  mark(byId("standing"), "data-state", state);
  put(byId("headline"), text);
}

function standing(s) {
  headline(s.headline.state, s.headline.text);
  const state = s.draining ? "draining" : s.readiness.ready ? "ready" : "not ready";
  const endpoints = s.services.reduce((n, one) => n + one.total, 0);
  put(byId("facts"), `${state}, up ${span((new Date(s.at) - new Date(s.started)) / 1000)}; ${plural(s.services.length, "service")}, ${plural(endpoints, "endpoint")}; ` +
    `sidecar ${s.build.version}${s.pid ? `, pid ${s.pid}` : ""}`);
  const problems = s.problems ?? [], visible = problems.slice(0, 12);
  if (problems.length > visible.length) visible.push({ severity: "", what: `and ${problems.length - visible.length} more` });
  keyed(byId("problems"), visible, (p) => `${p.severity}\n${p.service}\n${p.endpoint}\n${p.what.replace(/[\d.]+/g, "#")}`, (p) => new ProblemView(p));
}

// A ProblemView is a problem that leads to where it is.
class ProblemView {
  constructor(p) {
    this.word = make("b", { class: "word" });
    this.what = make("bdi");
    this.node = make("li", {}, this.word);
    if (p.service && p.severity) {
      const to = make("button", { type: "button" }, make("b", {}, make("bdi", {}, printable(p.service))), " ", this.what);
      to.addEventListener("click", () => go(p.service, p.endpoint));
      this.node.append(to);
    } else {
      this.node.append(this.what);
    }
  }
  update(p) {
    mark(this.node, "data-severity", p.severity);
    put(this.word, p.severity);
    put(this.what, p.what);
  }
}

// go opens a service, and puts who reads on it or on one of its endpoints.
function go(service, endpoint) {
  setFilter("");
  shown.open.set(service, true);
  render();
  const views = byId("services").views;
  const view = views.get(service);
  const row = endpoint && [...(view?.table.views?.values() ?? [])].find((v) => v.name === endpoint && v.row)?.row;
  focusRow(row ?? view?.head);
}

function services(s) {
  const f = shown.filter;
  let list = s.services;
  if (f) list = list.filter((one) => matches(one.service, f) || one.endpoints.some((e) => endpointMatches(e, f)));
  else if (shown.unusual) list = list.filter((one) => worst(one.service) || one.endpoints.some(unsound));
  const hidden = s.services.length - list.length;
  keyed(byId("services"), hidden && !f ? [...list, { rest: hidden, of: s.services.length }] : list,
    (one) => one.rest ? "\nrest" : one.service, (one) => one.rest ? new WellView() : new ServiceView(one));
  mark(byId("unusual"), "aria-pressed", shown.unusual);
  put(byId("shown"), f ? `${list.length} of ${plural(s.services.length, "service")}` : "");
}

// A WellView stands for the services that are not shown because they are well.
class WellView {
  constructor() {
    this.node = make("button", { type: "button", class: "more" });
    this.node.addEventListener("click", () => { shown.unusual = false; render(); });
  }
  update({ rest, of }) {
    put(this.node, `${rest === of ? `All ${plural(rest, "service")}` : `${rest} more ${rest === 1 ? "service" : "services"}`} ${rest === 1 ? "is" : "are"} well – show`);
  }
}

// lists are what there is besides services: only where something is in it.
function lists(s) {
  const now = new Date(s.at), all = [];
  const sources = s.services.flatMap((one) => (one.sources ?? []).filter((src) => src.kind !== "static").map((src) => {
    const state = !src.watching ? "not asked" : src.failing ? "fails" : !src.known ? "has not answered" : src.unknown ? "does not know it" : "answers";
    return { odd: !["answers", "not asked"].includes(state), tone: state === "fails" ? "bad" : "warn", at: 2,
      cells: [one.service, `${src.kind} ${src.subject ?? ""}`.trim(), state, moment(src.last_success) ? span((now - moment(src.last_success)) / 1000) : "never",
        src.instances, src.last_error ? `${src.last_error}, ${ago(src.last_error_at, now)}` : ""] };
  }));
  all.push({ title: "Sources", columns: ["Service", "Source", "State", "Age", "Instances", "Last error"], rows: sources });
  const certificates = s.services.flatMap((one) => (one.tls ?? []).flatMap((side) => (side.certificates ?? []).map((c) => {
    const end = moment(c.not_after), over = end < now;
    return { odd: over || c.due, tone: over ? "bad" : "warn", at: 3,
      cells: [one.service, side.side, c.names?.[0] ?? c.subject ?? "", over ? `expired ${span((now - end) / 1000)} ago` : `${c.due ? "due, " : ""}expires in ${span((end - now) / 1000)}`, day(end), c.file] };
  })));
  all.push({ title: "Certificates", columns: ["Service", "Side", "Name", "State", "Until", "File"], rows: certificates });
  all.push({ title: "Listeners", columns: ["Address", "Service", "Protocol", "Connections", "Accepted", "Error"], rows: s.listeners.map((l) => (
    { odd: Boolean(l.error), tone: "bad", at: 5, cells: [l.address, l.service, l.protocol, l.active, l.accepted, l.error ?? ""] })) });
  all.push({ title: "Announced", columns: ["Service", "ID", "Registry", "State", "Health", "Why"], rows: (s.registrations ?? []).map((r) => (
    { odd: !r.passing || r.failing, tone: "warn", at: 4, cells: [r.name, r.id, r.registry, r.leaving ? "leaving" : r.registered ? "registered" : "not registered",
      r.passing ? "passing" : "critical", r.failing ? r.last_error : r.why ?? ""] })) });
  keyed(byId("lists"), all.filter((l) => l.rows.length), (l) => l.title, (l) => new ListView(l));
}

// A ListView is a table; of a long one what is unusual.
class ListView {
  constructor(l) {
    this.title = l.title;
    this.body = make("tbody");
    this.names = make("tr");
    this.more = make("button", { type: "button", class: "more" });
    this.more.addEventListener("click", () => { shown.lists.add(l.title); render(); });
    this.node = make("section", { class: "list" }, make("h2", {}, this.title), make("div", { class: "wide" },
      make("table", {}, make("thead", {}, this.names), this.body)), this.more);
  }
  update(l) {
    const whole = l.rows.length <= few || shown.lists.has(l.title);
    const rows = whole ? l.rows : l.rows.filter((r) => r.odd).slice(0, many);
    // A column in which nothing stands is left out.
    const used = l.columns.map((_, i) => i).filter((i) => rows.some((r) => r.cells[i] !== ""));
    const names = used.map((i) => l.columns[i]).join("\n");
    if (names !== this.told) {
      this.told = names;
      this.names.replaceChildren(...used.map((i) => make("th", { scope: "col" }, l.columns[i])));
    }
    keyed(this.body, rows.map((r, n) => ({ ...r, n, cells: used.map((i) => r.cells[i]), at: used.indexOf(r.at) })), (r) => `${r.n} ${r.cells.length}`, (r) => new LineView(r.cells.length));
    show(this.more, !whole);
    put(this.more, `${l.rows.length - rows.length} more – show all`);
  }
}

class LineView {
  constructor(n) {
    this.cells = Array.from({ length: n }, () => make("td"));
    this.node = make("tr", {}, ...this.cells);
  }
  update(r) {
    r.cells.forEach((text, i) => {
      put(this.cells[i], text);
      mark(this.cells[i], "class", r.odd && i === r.at ? r.tone : null);
    });
  }
}

const badNews = new Set(["ejected", "ejected again", "down", "failing", "source failed", "fail-open", "empty", "unknown"]);
const goodNews = new Set(["recovered", "up", "fail-open ended", "source answers again", "unejected", "undrained"]);

const comparisons = new Set(["slow", "even", "failing"]); // one endpoint may be among them several times

let toldDecisions = "";

// decisions is the time line over all services. It is written anew when there is another one.
function decisions(s) {
  const list = s.decisions ?? [], now = new Date(s.at);
  const text = JSON.stringify([list, shown.earlier, day(now)]);
  if (text === toldDecisions) return;
  toldDecisions = text;
  const items = [];
  let before = null;
  for (const d of shown.earlier ? list : list.slice(0, 14)) {
    const at = moment(d.at);
    if (before && before - at > 600e3) items.push(make("li", { class: "gap" }, `${span((before - at) / 1000)} without any`));
    before = at;
    const who = d.times > 1 ? plural(d.times, comparisons.has(d.what) ? "time" : "endpoint") : d.endpoint ?? "";
    const where = d.others ? `${d.service} and ${plural(d.others, "other service")}` : d.service;
    items.push(make("li", { class: badNews.has(d.what) ? "bad-mark" : goodNews.has(d.what) ? "good-mark" : "" },
      make("time", { datetime: d.at, title: d.at }, clock(at, now)), make("b", {}, make("bdi", {}, printable(where))), " ",
      make("bdi", { class: d.times > 1 ? "" : "id" }, printable(who)), " ", make("b", { class: badNews.has(d.what) ? "bad" : goodNews.has(d.what) ? "good" : "" }, printable(d.what)),
      make("bdi", { class: "reason" }, printable(d.why))));
  }
  if (!items.length) items.push(make("li", { class: "gap" }, "Nothing has been decided yet."));
  byId("decisions").replaceChildren(...items);
  show(byId("earlier"), !shown.earlier && list.length > 14);
}
