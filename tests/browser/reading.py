"""What a person who reads a panel meets: texts, names of controls, what sticks out, what keys reach."""

from __future__ import annotations

# `texts` tells of each text in a panel: its size on the screen, its contrast with what is behind it (1 to 21; none on a
# picture), and whether it is of a control that cannot be used. The others return what is wrong, or what there is.
READ = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.map((each) => linear(each / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    const layers = [];
    for (let each = node; each; each = each.parentElement) {
      const style = getComputedStyle(each), ground = rgba(style.backgroundColor);
      if (style.backgroundImage !== "none") return null;
      if (ground[3] > 0) layers.push(ground);
      if (ground[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const CONTROLS = "button, input, select, textarea, summary, [tabindex='0']";
  const NAMED = `${CONTROLS}, [role=slider], [role=progressbar], [role=img], [role=option], [role=listbox]`;
  window.visible = (node) =>
    node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !node.closest(".fl-sr");
  window.texts = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
      if (!words || !visible(node) || node.closest("title, option")) continue;
      const svg = node.closest("svg"), style = getComputedStyle(node), box = svg?.viewBox.baseVal;
      const scale = box?.width ? svg.getBoundingClientRect().width / box.width : node.currentCSSZoom;
      const ground = behind(svg ? svg.parentElement : node);
      const ink = ground && over(rgba(svg ? style.fill : style.color), ground);
      const [high, low] = ground ? [light(ink), light(ground)].sort((a, b) => b - a) : [];
      found.push({
        words, size: parseFloat(style.fontSize) * scale, contrast: ground && (high + 0.05) / (low + 0.05),
        off: node.closest(":disabled, [aria-disabled=true]") !== null, kind: node.getAttribute("class") ?? node.tagName,
      });
    }
    return found;
  };
  window.nameless = (root) => [...root.querySelectorAll(NAMED)].filter(visible).filter((node) => {
    const ids = node.getAttribute("aria-labelledby")?.split(" ") ?? [];
    const labels = [...ids.map((id) => document.getElementById(id)), ...(node.labels ?? [])];
    const own = node.matches("button, summary, [role=option]") ? node.textContent : "";
    return ![node.getAttribute("aria-label"), own, ...labels.map((label) => label?.textContent)].some((s) => s?.trim());
  }).map((node) => node.outerHTML.slice(0, 120));
  window.sticksOut = (root) => {
    const right = root.getBoundingClientRect().right + 1, found = [];
    if (root.scrollWidth > root.clientWidth + 1) found.push(`${root.scrollWidth} of ${root.clientWidth} pixels`);
    for (const node of root.querySelectorAll("*")) {
      if (!visible(node) || node.getBoundingClientRect().right <= right) continue;
      let held = node.parentElement; // what scrolls may hold what is wider
      while (held !== root && getComputedStyle(held).overflowX === "visible") held = held.parentElement;
      if (held === root) found.push(`${node.tagName} ${node.getAttribute("class") ?? ""}`);
    }
    return found;
  };
  window.keyed = (root) =>
    [...root.querySelectorAll(CONTROLS)].filter((node) => visible(node) && !node.disabled && node.tabIndex >= 0);
  window.moving = (root) => [...root.querySelectorAll("*")].filter((node) => {
    const { transitionDuration, animationName } = getComputedStyle(node);
    return transitionDuration.split(",").some((each) => parseFloat(each) > 0) || animationName !== "none";
  }).map((node) => node.getAttribute("class") ?? node.parentElement.getAttribute("class"));
  window.looksOf = (root, kind, names) => {
    const node = [...root.querySelectorAll(kind)].find(visible), style = node && getComputedStyle(node);
    return node ? names.split(" ").map((name) => `${name}: ${style[name]}`).join("; ") : null;
  };
}"""
