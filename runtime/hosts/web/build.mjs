// Write offline.html: this page, the model and ONNX Runtime in one file that a double click opens.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const ORT = "node_modules/onnxruntime-web/dist";
const FOLDER = "model.edgernn";
process.chdir(import.meta.dirname);

const dataUrl = (type, file) => `data:${type};base64,${readFileSync(file).toString("base64")}`;
const module = (file) => dataUrl("text/javascript", file);

const imports = { "onnxruntime-web": module(`${ORT}/ort.wasm.bundle.min.mjs`), edgernn: module("edgernn.mjs") };
const source = readFileSync("index.html", "utf8");
for (const name of readdirSync(".")) {
  if (name.endsWith(".mjs") && name !== "build.mjs") imports[`page/${name}`] = module(name);
}

const contract = JSON.parse(readFileSync(join(FOLDER, "contract.json"), "utf8"));
const files = [
  "contract.json",
  ...Object.values(contract.graphs).map(({ file }) => file),
  ...Object.keys(contract.sha256).filter((file) => !file.endsWith(".onnx")), // weights
  ...readdirSync(join(FOLDER, "golden")).map((file) => `golden/${file}`),
].map((file) => `${FOLDER}/${file}`);
const inside = [`${ORT}/ort-wasm-simd-threaded.wasm`, ...files].map((file) =>
  `<script type="application/octet-stream" data-file="${file}">${gzipSync(readFileSync(file)).toString("base64")}</script>\n`);

const page = source
  .replace(/<link rel="stylesheet"[^>]*>/, () => `<style>\n${readFileSync("page.css", "utf8")}</style>`)
  .replace(/(<script type="importmap">)[^]*?(<\/script>)/, (_, start, end) => start + JSON.stringify({ imports }) + end)
  .replace("<script>", () => `${inside.join("")}<script>`);
writeFileSync("offline.html", page);
console.log(`offline.html, ${(page.length / 1e6).toFixed(1)} MB: open it in a browser.`);
