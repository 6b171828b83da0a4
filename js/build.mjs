// Bundles the widget into the Python package, where anywidget picks up the script and its style, and
// the JupyterLab extension, which is then packed as JupyterLab loads those.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { build } from "esbuild";

const common = {
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome111", "firefox113", "safari16.4"],
  legalComments: "none",
  logLevel: "info",
};

await build({
  ...common,
  entryPoints: { widget: "widget/src/index.tsx" },
  outdir: "../kerasedit/widgets/static",
});

await build({
  ...common,
  entryPoints: { index: "lab/src/index.ts" },
  outdir: "lab/lib",
  external: ["@jupyterlab/*", "@lumino/*"],
});

const { resolve } = createRequire(import.meta.url);
execFileSync(
  process.execPath,
  [
    resolve("@jupyter/builder/lib/build-labextension.js"),
    "--core-package-file",
    resolve("@jupyterlab/core-meta/core.package.json"),
    "lab",
  ],
  { stdio: "inherit" },
);
