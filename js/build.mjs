// Bundles the widget into the Python package, where anywidget picks up the script and its style.
import { build } from "esbuild";

await build({
  entryPoints: { widget: "widget/src/index.tsx" },
  outdir: "../kerasedit/widgets/static",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome111", "firefox113", "safari16.4"],
  legalComments: "none",
  logLevel: "info",
});
