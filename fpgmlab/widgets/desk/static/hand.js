import { wordsMany } from "./words.js";

// Which channels of a group go: by order, and after exchanges by hand. The same as fpgmlab.widgets.desk.exchanges.

/**
 * Return which channels go when so many do: `look` has the order, exceptions and parts of the group's filters, `own` the channels of a plan that
 * chose others (or nothing), `pairs` the exchanges [stay, go].
 */
export function handGone(look, count, own, pairs) {
  const chosen = own?.length === count ? own : (look.exceptions[count] ?? look.order.slice(0, count));
  const gone = new Uint8Array(look.order.length);
  for (const channel of chosen) gone[channel] = 1;
  for (const [stay, go] of pairs) {
    if (!gone[stay] || gone[go] || handEmpties(look.parts, gone, stay, go)) continue;
    gone[stay] = 0;
    gone[go] = 1;
  }
  return gone;
}

function handEmpties(parts, gone, stay, go) {
  return parts.some((part) => part.includes(go) && part.every((channel) => channel === go || (gone[channel] && channel !== stay)));
}

/** Return the channel that takes another one's place when that changes sides: the nearest to the cut that may; null where there is none. */
export function handPartner(look, gone, channel) {
  const row = gone[channel] ? look.order : [...look.order].reverse(); // of one that goes the first that stays, and the other way round
  const mine = (other) => look.blocks === null || look.blocks[other] === look.blocks[channel];
  return row.find((other) => gone[other] !== gone[channel] && mine(other)) ?? null;
}

/** Return how many channels were chosen by hand. */
export function handCount(pairs) {
  return new Set((pairs ?? []).flat()).size;
}

/** Return in words that the scores do not choose a group's channels alone: exchanges, or the channels of a plan that was assigned, if so many go; or nothing. */
export function handWords(group, pairs, own, count) {
  const many = wordsMany(group), exchanged = handCount(pairs), assigned = own?.length > 0 && own.length === count;
  if (exchanged) return `${exchanged} ${many} chosen by hand${assigned ? ", the others by a plan of a cell" : ""}`;
  return assigned ? `Which ${many} go was chosen by a plan of a cell` : "";
}
