// Numbers and times for people.

/** A length in nm, with the unit that suits it. */
export function length(nm) {
  const size = Math.abs(nm);
  if (size >= 1e6) return `${(nm / 1e6).toFixed(2)} mm`;
  if (size >= 1e4) return `${(nm / 1e3).toFixed(1)} µm`;
  if (size >= 1e3) return `${(nm / 1e3).toFixed(2)} µm`;
  return `${size >= 10 || size === 0 ? Math.round(nm) : nm.toFixed(1)} nm`;
}

/** A share as per cent. */
export function percent(share) {
  return `${share > 0 && share < 0.01 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;
}

/** A whole number with its thousands apart. */
export function count(number) {
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u2009");
}

/** How long ago something was. */
export function ago(iso, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return iso.slice(0, 10);
}

/** So many supervoxels; people read "pieces". */
export function pieces(number) {
  return `${count(number)} ${number === 1 ? "piece" : "pieces"}`;
}
