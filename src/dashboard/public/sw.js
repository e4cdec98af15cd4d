// Service worker: caches the page, so that it opens at once and can report that the assistant does
// not answer. API responses are never cached. File names below /assets/ contain the content's hash.
// The page may share its origin with others, and caches belong to the origin.
const BASE = new URL("./", location.href).pathname;
const CACHE = `page-1 ${BASE}`;
const SHELL = ["", "icon.svg", "manifest.webmanifest"].map((name) => BASE + name);

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const isOld = (name) => name !== CACHE && (name === "page-1" || name.endsWith(` ${BASE}`));
  const old = caches.keys().then((names) => names.filter(isOld));
  event.waitUntil(old.then((names) => Promise.all(names.map((name) => caches.delete(name)))));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith(`${BASE}assets/`)) event.respondWith(respondFromCache(request));
  else if (SHELL.includes(url.pathname) && !url.search) event.respondWith(respondFromNetwork(request));
});

async function respondFromCache(request) {
  const cache = await caches.open(CACHE);
  const cached = await cache.match(request);
  if (cached) return cached;
  const response = await fetch(request);
  if (response.ok) {
    for (const old of await cache.keys()) {
      const same = new URL(old.url).pathname.split("-")[0] === new URL(request.url).pathname.split("-")[0];
      const kind = old.url.split(".").pop() === request.url.split(".").pop();
      if (same && kind) await cache.delete(old);
    }
    await cache.put(request, response.clone());
  }
  return response;
}

async function respondFromNetwork(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const cached = await cache.match(request);
    if (cached) return cached;
    throw error;
  }
}
