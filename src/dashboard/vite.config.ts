import { copyFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** Puts the headers that must be sent with the page beside it, for whoever serves it. */
function headersBesideThePage(): Plugin {
  let outDir = "dist";
  return {
    name: "headers-beside-the-page",
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
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  plugins: [headersBesideThePage()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // nothing inline: the content security policy allows none
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    emptyOutDir: true,
  },
});
