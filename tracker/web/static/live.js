// Keeps the page as the server has it now. Without this script the page shows what is so when it is loaded.
"use strict";

(() => {
  const view = document.getElementById("view");
  const sign = document.getElementById("sign");
  const SILENT_MS = 15000; // the server says something every 5 s
  const SLOWEST_MS = 10000;
  let stream = null;
  let lines = [];
  let wait = 1000;
  let retry = 0;
  let watchdog = 0;
  let heard = null;

  function say(state, text) {
    if (sign.dataset.state !== state) {
      sign.dataset.state = state;
      sign.textContent = text;
    }
  }

  function close() {
    clearTimeout(retry);
    clearTimeout(watchdog);
    if (stream) stream.close();
    stream = null;
  }

  function lost() {
    close();
    const last = heard ? `, last heard of at ${heard.toLocaleTimeString()}` : "";
    say("away", `not live${last}; trying again`);
    retry = setTimeout(open, wait);
    wait = Math.min(2 * wait, SLOWEST_MS);
  }

  function hear() {
    heard = new Date();
    wait = 1000;
    say("live", "live");
    clearTimeout(watchdog);
    watchdog = setTimeout(lost, SILENT_MS);
  }

  function open() {
    close();
    stream = new EventSource("/live?of=" + encodeURIComponent(location.pathname + location.search));
    watchdog = setTimeout(lost, SILENT_MS);
    stream.addEventListener("still", hear);
    stream.addEventListener("view", (event) => {
      const told = JSON.parse(event.data);
      if (told.all) lines = told.all;
      for (const [at, line] of Object.entries(told.lines || {})) lines[at] = line;
      const next = document.createElement("template");
      next.innerHTML = lines.join("\n");
      become(view, next.content);
      document.title = told.title;
      hear();
    });
    stream.onerror = lost;
  }

  // Make the children of one element those of another, touching only what differs: focus, selection and what was typed stay.
  function become(here, there) {
    const wanted = [...there.childNodes];
    wanted.forEach((next, at) => {
      const node = here.childNodes[at];
      if (!node) here.append(next);
      else if (node.nodeType !== next.nodeType || node.nodeName !== next.nodeName) node.replaceWith(next);
      else if (node.nodeType !== Node.ELEMENT_NODE) {
        if (node.data !== next.data) node.data = next.data;
      } else {
        for (const { name } of [...node.attributes]) if (!next.hasAttribute(name)) node.removeAttribute(name);
        for (const { name, value } of next.attributes) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
        become(node, next);
      }
    });
    while (here.childNodes.length > wanted.length) here.lastChild.remove();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      say("resting", "resting while hidden");
    } else open();
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) open();
  });
  if (!document.hidden) open();
})();
