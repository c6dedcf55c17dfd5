// How things are told. Numbers have the digits that a glance takes in, and no more.

// What registries say may hold anything: nothing of it may act on the page or its reader.
const printable = (s) => String(s ?? "").replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");

const plural = (n, noun) => n === 1 ? `1 ${noun}` : `${n} ${noun}s`;

const fixed = (x) => x >= 99.5 ? x.toFixed(0) : x >= 9.95 ? x.toFixed(0) : x.toFixed(1);

// span is a time that people wait, from seconds.
function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${s % 60 && s < 600 ? `${s % 60}s` : ""}`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)}h${Math.floor(s % 3600 / 60)}m`;
  return `${Math.floor(s / 86400)}d`;
}

// latency is a time that machines take, from seconds.
function latency(seconds) {
  const ms = seconds * 1000;
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 99.95) return `${ms.toFixed(1)} ms`;
  return ms < 9999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const percent = (share) => `${share > 0 && share < 0.0005 ? "<0.1" : (100 * share).toFixed(1)} %`;
const rate = (perSecond) => perSecond === 0 ? "0/s" : `${perSecond > 0 && perSecond < 0.05 ? "<0.1" : fixed(perSecond)}/s`;
const ratio = (part, whole) => whole > 0 ? part / whole : 0;

// range is "a to b", or "a" if they look the same.
const range = (a, b) => a === b ? a : `${a} to ${b}`;

// A time is the zero time where there is none, or is left out.
const moment = (text) => text && !text.startsWith("0001-") ? new Date(text) : null;

const two = (n) => String(n).padStart(2, "0");
const time = (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
const day = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
const clock = (d, now) => day(d) === day(now) ? time(d) : `${day(d)} ${time(d)}`;

const ago = (text, now) => {
  const d = moment(text);
  return d ? `${span((now - d) / 1000)} ago` : "never";
};
