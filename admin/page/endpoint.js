// An endpoint: a row, below it why it is not as it should be, and when it is opened all that is known.

class EndpointView {
  constructor({ e, s }) {
    this.key = trackKey(s.service, e);
    this.name = e.id;
    this.service = s.service;
    this.id = make("span", { class: "id" });
    this.place = make("span", { class: "soft" });
    this.state = make("span");
    this.bar = make("i");
    this.share = make("span");
    this.latency = make("span");
    this.spark = spark(96);
    this.rate = make("td", { class: "number rate" });
    this.failed = make("td", { class: "number" });
    this.flight = make("td", { class: "number" });
    this.row = make("tr", { class: "row", tabindex: "-1", "aria-expanded": "false" },
      make("td", { class: "name" }, this.id, " ", this.place), make("td", { class: "state" }, this.state),
      make("td", {}, make("span", { class: "share", "aria-hidden": "true" }, this.bar), this.share),
      this.rate, make("td", {}, make("div", { class: "figures" }, this.spark, this.latency)), this.failed, this.flight);
    this.row.addEventListener("click", () => { if (!getSelection().toString()) this.toggle(); }); // to mark text is no click
    this.whyText = make("bdi");
    this.why = make("tr", { class: "why" }, make("td", { colspan: columns.length }, this.whyText));
    this.details = make("div", { class: "details" });
    this.opened = make("tr", {}, make("td", { colspan: columns.length }, this.details));
    this.node = make("tbody", { class: "endpoint" }, this.row, this.why, this.opened);
    this.row.view = this;
  }

  toggle() {
    if (!shown.details.delete(this.key)) shown.details.add(this.key);
    render();
  }

  update({ e, s, scale }) {
    const now = new Date(heard.status.at), track = trackOf(s.service, e), w = word(e);
    put(this.id, e.id);
    put(this.place, [e.address === e.id ? "" : e.address, e.zone ? `zone ${e.zone}` : "", e.weight > 1 ? `weight ${e.weight}` : ""].filter(Boolean).join(" · "));
    put(this.state, w);
    mark(this.state, "class", tones[w] ?? "");
    mark(this.node, "data-state", w);
    put(this.share, percent(e.share));
    this.bar.style.width = `${(100 * e.share).toFixed(1)}%`;
    const perSecond = track.rate();
    put(this.rate, perSecond === null ? "" : rate(perSecond));
    put(this.latency, e.measured ? latency(e.last_latency_seconds || e.latency_seconds) : "–");
    draw(this.spark, track.latencies(), scale);
    put(this.failed, e.window_attempts ? `${e.window_failures} of ${e.window_attempts}` : "–");
    mark(this.failed, "class", `number${e.window_failures ? " bad" : ""}`);
    put(this.flight, e.in_flight);
    const why = reason(e, now);
    put(this.whyText, why);
    show(this.why, why !== "");
    const open = shown.details.has(this.key);
    mark(this.row, "aria-expanded", open);
    show(this.opened, open);
    if (open) this.detail(e, s, now);
  }

  // detail tells all. It is written anew only when it says something else.
  detail(e, s, now) {
    const c = e.counters;
    const lines = [
      ["State", `${e.state} since ${clock(moment(e.since) ?? now, now)} (${span((now - (moment(e.since) ?? now)) / 1000)}): ${e.why}`],
      ["Verdict", e.verdict],
      ["Breaker", e.breaker + (moment(e.ready_at) > now ? `, until ${clock(moment(e.ready_at), now)}` : "")],
      ["Since the start", `${plural(c.attempts, "attempt")}, ${plural(c.successes, "success").replace("successs", "successes")}; failed: ${failures(c) || "none"}; canceled by clients: ${c.canceled}`],
      ["Ejections", `${c.ejections}${c.ejections_refused ? `; ${c.ejections_refused} refused, for too many were out or the others failed as much` : ""}`],
      ["Connections", `${e.connections} open, ${plural(e.in_flight, "lease")} in flight`],
    ];
    const errors = e.errors.map((n) => `${n.count}× ${n.what}, last ${ago(n.last, now)}`);
    const history = e.history.map((d) => `${clock(moment(d.at), now)}  ${d.what}: ${d.why}`).reverse();
    const parts = [lines, errors, history, e.state], text = JSON.stringify(parts);
    if (text === this.told) return;
    this.told = text;
    const focused = this.details.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    this.details.replaceChildren(make("dl", {}, ...lines.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, make("bdi", {}, printable(value)))])));
    for (const [title, list] of [["Last errors", errors], ["Decisions, newest first", history]]) {
      if (list.length) this.details.append(make("h3", {}, title), make("ul", {}, ...list.map((l) => make("li", {}, make("bdi", {}, printable(l))))));
    }
    const offered = buttons(s, e);
    if (offered) this.details.append(offered);
    if (focused) this.details.querySelector(`[data-action="${focused}"]`)?.focus();
  }
}

// reason is why an endpoint is not as it should be, or what has failed just now.
function reason(e, now) {
  const last = e.errors[0];
  const error = last ? `${last.count}× ${last.what}, last ${ago(last.last, now)}` : "";
  if (e.sound || e.state === "spare") return last && now - moment(last.last) < 60e3 ? error : "";
  const until = e.state === "ejected" && moment(e.ready_at) > now ? ` (until ${clock(moment(e.ready_at), now)})` : "";
  return e.verdict + until;
}

// failures are what has failed since the start, by kind.
function failures(c) {
  return [["connect_failures", "to connect"], ["resets", "reset"], ["timeouts", "timed out"], ["server_errors", "server errors"], ["overloaded", "overloaded"]]
    .filter(([key]) => c[key]).map(([key, name]) => `${c[key]} ${name}`).join(", ");
}
