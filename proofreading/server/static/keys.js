// Keys, wherever the focus is: the viewer's frame takes it as soon as the mouse is over it, and has bindings of
// its own for many of them. Therefore one handler sits on both windows and comes before all others.
//
// A key counts when it is pressed, not while it is held, except those that move; none counts together with Ctrl,
// Alt or Meta, nor while somebody writes. Keys that the page does not use are kept from the viewer, except those
// that turn it.

const WRITTEN_IN = new Set(["INPUT", "TEXTAREA", "SELECT"]);
const PRESSED_BY = new Set(["BUTTON", "A", "SUMMARY"]);
const OF_THE_VIEWER = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", ",", "."]);
const OF_THE_BROWSER = /^(Tab|F[0-9]+|Shift|Control|Alt|Meta|CapsLock|PageUp|PageDown|Home|End)$/;

/**
 * Listens for keys.
 *
 * @param onKey takes the name of a key ("y", "?", "Enter"), and gives whether it was one of the page's.
 * @returns a function that makes a window one of those listened to.
 */
export function listenForKeys(onKey) {
  return (target, isViewer = false) => {
    target.addEventListener("keydown", (event) => handle(event, onKey, isViewer), { capture: true });
  };
}

function handle(event, onKey, isViewer) {
  const name = nameOf(event);
  if (event.ctrlKey || event.altKey || event.metaKey || OF_THE_BROWSER.test(name)) return;
  if (event.isComposing || isWriting(event.target)) return;
  if (event.shiftKey && isViewer && OF_THE_VIEWER.has(name)) return;
  if ((name === "Enter" || name === " ") && PRESSED_BY.has(event.target?.tagName)) return;
  const used = (!event.repeat || OF_THE_VIEWER.has(name)) && onKey(name);
  if (used || (isViewer && !OF_THE_VIEWER.has(name))) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}

/** Letters count alike with and without Shift; signs count as what they are on this keyboard. */
function nameOf(event) {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function isWriting(target) {
  return WRITTEN_IN.has(target?.tagName) || Boolean(target?.isContentEditable);
}
