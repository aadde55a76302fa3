// Where names stand in the trade-off plot: beside their points, not over each other.

const LABEL_LETTER = 6.4, LABEL_HEIGHT = 13; // of the plot's type, in pixels, roughly
const LABEL_LONGEST = [22, 10]; // letters; fewer where there is less room

/**
 * Return where the name of a point can stand, or null where there is room for it nowhere.
 *
 * `place` has x and the heights of the point's marks (or null), `room` is what may be used, `held` are boxes to keep off.
 */
export function labelPlace(name, place, room, held) {
  for (const longest of LABEL_LONGEST) {
    const words = name.length > longest ? `${name.slice(0, longest - 1)}…` : name;
    const found = labelChoices(words, place).find(({ box }) => labelInside(box, room) && !held.some((other) => labelOver(box, other)));
    if (found) return { words, ...found };
  }
  return null;
}

/** Return the boxes that the marks of a point take, and the line that joins them. */
export function labelMarks(place) {
  const heights = labelHeights(place), box = (half, top, bottom) => ({ left: place.x - half, right: place.x + half, top, bottom });
  const beyond = place.off === null ? [] : [{ left: place.x, right: place.x + 48, top: place.off - 14, bottom: place.off + 12 }]; // its value
  return [...heights.map((y) => box(6, y - 6, y + 6)), box(2, Math.min(...heights), Math.max(...heights)), ...beyond];
}

function labelHeights({ predicted, measured, repaired, tuned }) {
  return [tuned, repaired, measured, predicted].filter((y) => y !== null);
}

function labelChoices(words, place) {
  const width = words.length * LABEL_LETTER, gap = 9;
  return labelHeights(place).flatMap((y) => [["start", gap, 4], ["end", -gap, 4], ["middle", 0, -10], ["middle", 0, 18], ["start", gap, -8],
    ["end", -gap, -8], ["start", gap, 17], ["end", -gap, 17], ["start", 0, -18], ["end", 0, -18], ["start", 0, 26], ["end", 0, 26]].map(([anchor, dx, dy]) => {
    const left = place.x + dx - { start: 0, middle: width / 2, end: width }[anchor];
    return { anchor, dx, y: y + dy, box: { left, right: left + width, top: y + dy - LABEL_HEIGHT + 3, bottom: y + dy + 3 } };
  }));
}

function labelInside(box, room) {
  return box.left >= room.left && box.right <= room.right && box.top >= room.top && box.bottom <= room.bottom;
}

function labelOver(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
