// The page: it opens the viewer and the queue of tasks, and joins them with the panel and the keys.

import * as api from "./api.js";
import { onAcknowledged, onLeft, onPlace, onSoma } from "./answering.js";
import { followChanges } from "./changes.js";
import { bindButtons, onKey } from "./commands.js";
import { isAway, logInAgain, logOut, onAway, onOutbox, ping } from "./connection.js";
import { mayAnswer, page, setMode } from "./context.js";
import { byId, toast } from "./dom.js";
import { change, takeBack } from "./editing.js";
import { fillHelp } from "./help.js";
import { makeHistory } from "./history.js";
import { listenForKeys } from "./keys.js";
import { person } from "./login.js";
import { openViewer } from "./ng_adapter.js";
import { openOutbox } from "./outbox.js";
import { plainPanel } from "./panel.js";
import { watchProgress } from "./progress.js";
import { makeQueue } from "./queue.js";
import { look, onEdited, onEmpty, onlyLooking, onPaused, onReady, onTask } from "./showing.js";

main().catch((error) => {
  setMode("wait", "The page could not start");
  byId("panel").replaceChildren(plainPanel("The page could not start", error.message));
});

async function main() {
  fillHelp();
  const listen = listenForKeys(onKey);
  listen(window);
  bindButtons();
  byId("person").addEventListener("click", logOut);
  byId("banner-retry").addEventListener("click", ping);
  byId("banner-aside").addEventListener("click", () => page.outbox?.setAside());
  page.me = await person();
  byId("person").textContent = page.me.name;
  const project = await api.get("/api/project");
  byId("project").textContent = project.name;
  document.title = `${project.name} · proofread`;
  api.onAway(onAway);
  page.updateProgress = watchProgress();
  page.updateProgress();
  page.viewer = await openViewer(byId("viewer"), project, onPlace);
  listen(page.viewer.window, true);
  watchHands();
  page.outbox = openOutbox(page.me.name, { onState: onOutbox, onLogin: logInAgain, onLeft });
  page.history = makeHistory({ change, takeBack, look, me: page.me });
  page.queue = makeQueue(project, page.outbox, {
    onTask,
    onReady,
    onEmpty: (isAsking) => onEmpty(isAsking, isAway()),
    onPaused,
    onSoma,
    onAcknowledged,
    onNotice: toast,
    onLogin: logInAgain,
  });
  page.changes = followChanges(project, { onVoxels: page.viewer.reload, onNeurons: onEdited });
  document.body.dataset.ready = "true";
  if (mayAnswer()) await page.queue.start();
  else onlyLooking();
}

// Leaving the page gave the tasks back; whoever comes back by the browser's history begins anew.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

/** Whether somebody is there; leases are kept alive for them only. */
function watchHands() {
  for (const target of [window, page.viewer.window]) {
    for (const name of ["keydown", "mousemove", "mousedown", "wheel"]) {
      target.addEventListener(name, () => page.queue?.touch(), { capture: true, passive: true });
    }
  }
}
