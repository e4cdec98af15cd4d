import { copyFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Plugin, defineConfig } from "vite";

/** Copies headers.json into the build, for the server of the page. */
function copyHeaders(): Plugin {
  let outDir = "dist";
  return {
    name: "copy-headers",
    apply: "build",
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      copyFileSync(resolve(import.meta.dirname, "headers.json"), resolve(outDir, "headers.json"));
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  base: "./", // all URLs are relative: a reverse proxy may serve the page below a path
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  plugins: [copyHeaders()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // nothing inline: the content security policy allows none
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    emptyOutDir: true,
  },
});
