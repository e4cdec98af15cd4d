// Keeps the page itself, so that it opens at once and can say by itself that the house does not
// answer. Never keeps an answer of the api. Files below /assets/ have their content's hash as name.
const CACHE = "page-1";
const SHELL = ["/", "/icon.svg", "/manifest.webmanifest"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const others = caches.keys().then((names) => names.filter((name) => name !== CACHE));
  event.waitUntil(others.then((names) => Promise.all(names.map((name) => caches.delete(name)))));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith("/assets/")) event.respondWith(kept(request));
  else if (SHELL.includes(url.pathname) && !url.search) event.respondWith(fresh(request));
});

async function kept(request) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(request);
  if (found) return found;
  const answer = await fetch(request);
  if (answer.ok) {
    for (const old of await cache.keys()) {
      const same = new URL(old.url).pathname.split("-")[0] === new URL(request.url).pathname.split("-")[0];
      const kind = old.url.split(".").pop() === request.url.split(".").pop();
      if (same && kind) await cache.delete(old);
    }
    await cache.put(request, answer.clone());
  }
  return answer;
}

async function fresh(request) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(request, answer.clone());
    return answer;
  } catch (error) {
    const found = await cache.match(request);
    if (found) return found;
    throw error;
  }
}
