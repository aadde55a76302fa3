import { listen } from "../../common/static/common.js";
import { measuredOf } from "./measured.js";

const WATCH_PATIENCE = 1000; // milliseconds after which a look that was not answered is given up
const WATCH_SEEN = new WeakMap(); // by widget: what its views were last set to show; a view that JupyterLab draws anew goes on with it

/** Let a desk's store know what is measured, and how it is to be shown. */
export function watchStore(store, widget, tell, signal) {
  // Of how it is shown: the budget asked for last ({ kind, share }), the bars' background, the trade-off's axis ------------
  const seen = WATCH_SEEN.get(widget) ?? { budget: null, background: null, axis: null };
  WATCH_SEEN.set(widget, seen);
  store.budget = () => seen.budget;
  store.setBudget = (asked) => {
    seen.budget = asked;
    tell("budget");
  };
  store.axis = () => (store.calculator.desk.latency ? (seen.axis ?? "macs") : "macs");
  store.background = () => (store.metric()?.as_cut ? (seen.background ?? "repaired") : store.calculator.desk.repaired ? "repaired" : "as cut");
  store.see = (what, value) => {
    seen[what] = value;
    tell("seen");
  };
  const pictures = new Map();
  /** Return the metric with the curves that the bars stand on: those of the background chosen. Predictions keep to `metric`. */
  store.drawn = () => {
    const metric = store.metric();
    if (!metric?.as_cut || store.background() === "repaired") return metric;
    if (!pictures.has(metric)) pictures.set(metric, { ...metric, ...metric.as_cut, as_cut: null, note: ", as cut" });
    return pictures.get(metric);
  };

  // Of what is measured -------------------------------------------------------------------------------------------
  let looked = null, wanted = null, resting = null; // looked: when the look was sent that has no answer yet
  store.live = () => widget.get("live") ?? {};
  /** Return whether what the kernel is at is the plan shown. */
  store.isLive = () => store.live().kept === store.kept.join(",") && (store.moving() || store.confirmed().revision === store.revision());
  /** Return the plans that were measured. */
  store.points = () => widget.get("points") ?? [];
  /** Return what was measured of the plan shown, by stage. */
  store.measured = () => {
    const metric = store.metricShown(), told = { live: store.isLive() ? store.live() : {}, glimpse: widget.get("glimpse"), results: store.results() };
    return metric ? measuredOf(store.kept, metric.name, told) : {};
  };
  /** Return the metric shown; without curves the first of what is measured. */
  store.metricShown = () => {
    const [name] = Object.keys(Object.values(store.live().networks ?? {})[0] ?? {});
    return store.metric() ?? (name === undefined ? null : { name, share: false, higher_is_better: true, value: null, samples: 0 });
  };
  /** Ask how the plan that a drag passes through does, as cut; one question at a time, then the latest plan. */
  store.look = () => {
    if (widget.get("glimpse") === undefined || (store.live().why && !Object.keys(store.live().networks ?? {}).length)) return; // nobody measures
    wanted = store.moving() ? store.kept.join(",") : null;
    if (wanted === null || wanted === widget.get("glimpse").kept) return;
    if (looked !== null && performance.now() - looked < WATCH_PATIENCE) return;
    if (resting !== null) return;
    looked = performance.now();
    store.send({ do: "look", kept: [...store.kept] });
  };
  const answered = () => {
    // The page paints on the cores that measure: half of the time is the pointer's.
    const took = looked === null ? 0 : performance.now() - looked;
    looked = null;
    clearTimeout(resting);
    resting = setTimeout(() => {
      resting = null;
      if (wanted !== null) store.look();
    }, Math.min(took, WATCH_PATIENCE));
    tell("live");
  };
  signal.addEventListener("abort", () => clearTimeout(resting));

  listen(widget, ["live"], () => tell("live"), signal);
  listen(widget, ["points"], () => tell("points"), signal);
  listen(widget, ["glimpse"], answered, signal);
}
