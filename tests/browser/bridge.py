"""A desk in a page without JupyterLab: what the one sends reaches the other when a test says so."""

from __future__ import annotations

from tests.browser.panels import LOOKS, UNSEEN, _as_json, theme

# What anywidget gives to a panel, with a queue of what it sends.
OPEN = """async ({ esm, css, state, pixels, dark, theme }) => {
  const revive = (value) => {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(revive);
    if ("$bytes" in value) return new DataView(Uint8Array.from(atob(value.$bytes), (c) => c.charCodeAt(0)).buffer);
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, revive(each)]));
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: theme + css }));
  document.body.dataset.jpThemeLight = String(!dark);
  document.body.style.cssText = "margin: 8px; background: var(--jp-layout-color0)";
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const { default: widget } = await import(url), values = revive(state), el = document.createElement("div");
  const handlers = new Map(), queue = [], changed = new Set();
  const tell = (names) => names.forEach((name) => (handlers.get(`change:${name}`) ?? []).forEach((act) => act()));
  const model = {
    get: (key) => values[key],
    set: (key, value) => {
      if (JSON.stringify(values[key]) === JSON.stringify(value)) return;
      values[key] = value;
      changed.add(key);
      tell([key]);
    },
    save_changes: () => {
      if (changed.size) queue.push({ state: Object.fromEntries([...changed].map((key) => [key, values[key]])) });
      changed.clear();
    },
    send: (content) => queue.push({ content }),
    on: (name, act) => handlers.set(name, [...(handlers.get(name) ?? []), act]),
    off: () => {},
  };
  window.drain = () => queue.splice(0);
  window.arrive = (state) => {
    Object.assign(values, revive(state));
    tell(Object.keys(state));
  };
  window.answer = (content) => (handlers.get("msg:custom") ?? []).forEach((act) => act(content));
  el.style.width = `${pixels}px`;
  document.body.append(el);
  widget.render({ model, el, signal: new AbortController().signal });
  await settled();
}"""


class Bridge:
    """A `PlanEditor` and its view in a page."""

    def __init__(self, browser: object, editor: object, *, pixels: int = 1240, dark: bool = False) -> None:
        self.editor, self._news = editor, set()
        self.page = browser.new_page(viewport={"width": pixels + 20, "height": 900})
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.set_content("<!doctype html><body></body>")
        self.page.evaluate(LOOKS)
        keys = [key for key in editor.keys if key not in UNSEEN and not key.startswith("_")]
        editor.observe(lambda change: self._news.add(change["name"]), keys)
        sent = {"esm": str(editor._esm), "css": str(editor._css), "state": _as_json(editor.get_state(keys))}
        more = {"pixels": pixels, "dark": dark, "theme": theme("dark" if dark else "light")}
        self.page.evaluate(OPEN, sent | more)

    def pump(self, rest: float = 0.3) -> None:
        """Let each hear of the other until both were silent for so many seconds."""
        silent = 0
        while silent < 2:
            messages = self.page.evaluate("drain()")
            for message in messages:
                if "state" in message:
                    self.editor.set_state(message["state"])
                else:
                    self.editor._handle_custom_msg(message["content"], [])
            news, self._news = self._news, set()
            if news:
                self.page.evaluate("(state) => arrive(state)", _as_json(self.editor.get_state(news)))
            silent = 0 if messages or news else silent + 1
            self.page.wait_for_timeout(500 * rest)

    def close(self) -> None:
        self.page.close()
