import { element } from "../../common/static/common.js";

// Numbers as the panels of the desk write them, and the kinds of cost.

/** Return a count as people write it: 2.03 G, 272 k, 52.4 MB (with the unit "B"). */
export function wordsAmount(value, unit = "") {
  const [size, word] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => value >= 0.9995 * least) ?? [1, ""];
  const number = size === 1 ? String(Math.round(value)) : (value / size).toPrecision(3);
  return word + unit === "" ? number : `${number} ${word}${unit}`;
}

/** Return a time in milliseconds. */
export function wordsTime(ms) {
  return `${ms >= 999.5 ? Math.round(ms).toLocaleString("en") : ms.toPrecision(ms < 0.0995 ? 2 : 3)} ms`;
}

/** Return what a plan costs, as far as it is known of this network: kind, name, and how a value is written. */
export function wordsKinds(desk) {
  const kinds = [
    { kind: "macs", name: "MACs", title: "MACs", text: (value) => wordsAmount(value) },
    { kind: "params", name: "parameters", title: "Parameters", text: (value) => wordsAmount(value) },
    { kind: "bytes", name: "bytes", title: "File size", text: (value) => wordsAmount(value, "B") },
  ];
  if (!desk.latency) return kinds;
  const { runtime, batch, elsewhere } = desk.latency;
  const note = `by the latency table; a batch of ${batch}${elsewhere ? `. It was measured on another machine: ${elsewhere}` : ""}`;
  const table = `${runtime}'s table${elsewhere ? ", of another machine" : ""}`;
  return [{ kind: "latency", name: "milliseconds", title: "Milliseconds", of: runtime, table, note, text: wordsTime }, ...kinds];
}

/** Return what remains of the whole: 49.3 %. */
export function wordsShare(now, all) {
  return `${all > 0 ? ((100 * now) / all).toFixed(1) : "–"} %`;
}

/** Return a metric's value: shares as per cent, others with four digits. */
export function wordsValue(metric, value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return metric.share ? `${(100 * value).toFixed(1)} %` : wordsDigits(value);
}

/** Return half an interval's width, in points for shares; infinite where it is not known; nothing where there is none. */
export function wordsSpread(metric, half) {
  if (!Number.isFinite(half)) return "± unknown";
  return half === 0 ? "" : `± ${metric.share ? (100 * half).toFixed(1) : half.toPrecision(2)}`;
}

/** Return the ends of an interval: 93.9 to 94.8 %; or that they are not known. */
export function wordsInterval(metric, low, high) {
  if (low === null || high === null) return "interval not known yet";
  return metric.share ? `${(100 * low).toFixed(1)} to ${wordsValue(metric, high)}` : `${wordsValue(metric, low)} to ${wordsValue(metric, high)}`;
}

function wordsDigits(value) {
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(Math.abs(value) < 1 ? 3 : 4);
}

/** Return a number with its noun: 1 group, 2 groups. */
export function wordsCount(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Return what a group's channels are called: channels, heads. */
export function wordsMany(group) {
  return group.many.split(" ")[0];
}

/** Return a text that is written only when it is another. */
export function wordsIn(node) {
  return wordsOnce((words) => (node.textContent = words));
}

/** The same with names of layers in it: lines are broken within these, too. */
export function wordsNamed(node) {
  return wordsOnce((words) => node.replaceChildren(...words.split(/(?<=[._])/).flatMap((part) => [part, element("wbr")])));
}

function wordsOnce(write) {
  let shown = null;
  return (words) => {
    if (words === shown) return;
    shown = words;
    write(words);
  };
}
