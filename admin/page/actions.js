// What can be done about an endpoint, where the sidecar allows it. Each asks first.

const deeds = {
  drain: {
    name: "Drain",
    says: (s, e) => `It gets no new requests${e.in_flight ? `; what is in flight (${e.in_flight}) runs on` : ""}. ${left(s, e)}` +
      " It stays out until it is undrained, or the sidecar is started again.",
  },
  undrain: { name: "Undrain", says: () => "It gets its share of the traffic again, if its health check passes." },
  uneject: { name: "Un-eject", says: (s, e) => `Its ejection ends now: ${e.why}. It gets its share of the traffic again, and is ejected again if it still fails.` },
};

// left says what remains without an endpoint.
function left(s, e) {
  const n = s.endpoints.filter((o) => o.used && o.id !== e.id).length;
  if (n > 0) return `${plural(n, "other endpoint")} ${n === 1 ? "takes" : "take"} the traffic.`;
  return "There is no other that takes traffic: this one is used all the same, unless there is a fallback.";
}

// buttons are those that an endpoint has, or null.
function buttons(s, e) {
  if (document.body.dataset.actions !== "true" || e.state === "spare" || e.state === "retired") return null;
  const offered = e.state === "drained" ? ["undrain"] : e.state === "ejected" || e.state === "probing" ? ["uneject", "drain"] : ["drain"];
  return make("div", { class: "buttons" }, ...offered.map((deed) => {
    const b = make("button", { type: "button", "data-action": deed }, `${deeds[deed].name}…`);
    b.addEventListener("click", () => ask(s.service, e.id, deed));
    return b;
  }));
}

let asked = null;

// ask has who reads confirm what is about to be done.
function ask(service, id, deed) {
  const s = heard.status.services.find((one) => one.service === service), e = s?.endpoints.find((one) => one.id === id);
  if (!e) return;
  asked = { service, id, deed };
  put(byId("ask-title"), `${deeds[deed].name} ${id} of ${service}?`);
  put(byId("ask-text"), deeds[deed].says(s, e));
  put(byId("ask-error"), "");
  put(byId("ask-yes"), deeds[deed].name);
  byId("ask").showModal();
  byId("ask-no").focus();
}

async function act() {
  const { service, id, deed } = asked;
  byId("ask-yes").disabled = true;
  try {
    const answer = await fetch(`/services/${encodeURIComponent(service)}/endpoints/${encodeURIComponent(id)}/${deed}`, { method: "POST", headers: { "Sidecar-Action": "1" } });
    if (answer.ok) byId("ask").close();
    else put(byId("ask-error"), `${answer.status}: ${await answer.text()}`);
  } catch (err) {
    put(byId("ask-error"), `the sidecar does not answer: ${err.message}`);
  } finally {
    byId("ask-yes").disabled = false;
  }
}

byId("ask-yes").addEventListener("click", act);
byId("ask-no").addEventListener("click", () => byId("ask").close());
