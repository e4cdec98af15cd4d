import { defineConfig } from "vitest/config";

export default defineConfig({
  root: import.meta.dirname,
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  test: {
    environment: "happy-dom",
    include: ["**/*test.ts?(x)"],
    exclude: ["node_modules", "dist"],
    css: false,
  },
});
