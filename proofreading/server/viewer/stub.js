// Stands in for the Python server that this build of Neuroglancer talks to, so that nothing is kept open and
// nothing is sent. It is loaded before the client, in the frame, and leaves `window.viewerStub` there:
//
//   setConfig(config)   gives the client a config (the key "c" of its Python protocol): what is hidden, which
//                       keys do what, what is fetched ahead. Replaces the whole one before; may be called at
//                       any time, also before the client has started.
//   config              the one given last
//
// The page around the frame may define, before the frame is loaded:
//
//   window.viewerConfig               the first config
//   window.onViewerAction(name, state)  called for each of the client's own actions that are named in the
//                                       config; state has mousePosition and selectedValues
(() => {
  "use strict";
  const outside = window.parent === window ? {} : window.parent;
  const stub = { config: outside.viewerConfig || {}, setConfig };
  let source = null;
  let generation = 0;

  function setConfig(config) {
    stub.config = config;
    tell();
  }

  function tell() {
    if (source && source.onmessage) {
      generation += 1;
      source.onmessage({ data: JSON.stringify({ k: "c", s: stub.config, g: `stub/${generation}` }) });
    }
  }

  class StubSource {
    constructor(url) {
      this.url = url;
      this.readyState = 1;
      source = this;
      queueMicrotask(() => {
        if (this.onopen) this.onopen();
        tell();
      });
    }
    close() {
      this.readyState = 2;
      if (source === this) source = null;
    }
    addEventListener() {}
    removeEventListener() {}
  }

  const answers = {
    action(message) {
      if (outside.onViewerAction) outside.onViewerAction(message.action, message.state);
      return {};
    },
    state: (message) => ({ g: `${message.c}/${message.g}` }),
    credentials: () => ({}),
  };
  const realFetch = window.fetch.bind(window);

  window.fetch = (resource, options) => {
    const address = typeof resource === "string" ? resource : resource.url || String(resource);
    const url = new URL(address, location.href);
    const found = url.origin === location.origin && url.pathname.match(/^\/ng\/(action|state|credentials)\/stub$/);
    if (!found) return realFetch(resource, options);
    const body = JSON.stringify(answers[found[1]](JSON.parse(options.body)));
    return Promise.resolve(new Response(body, { headers: { "Content-Type": "application/json" } }));
  };
  window.EventSource = StubSource;
  window.viewerStub = stub;
})();
