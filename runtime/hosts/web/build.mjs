// Write offline.html: this page, the model and ONNX Runtime in one file that a double click opens.
// With --open, open it in the browser.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const ORT = "node_modules/onnxruntime-web/dist";
const MODEL = "model.edgernn";
const OPENERS = { darwin: ["open"], win32: ["cmd", "/c", "start", ""] };

process.chdir(dirname(fileURLToPath(import.meta.url)));

const base64 = (file) => readFileSync(file).toString("base64");
const moduleUrl = (file) => `data:text/javascript;base64,${base64(file)}`;

/** Return the modules of the page by the names under which they are imported. */
function modules() {
  const own = readdirSync(".").filter((name) => name.endsWith(".mjs") && name !== "build.mjs");
  return {
    "onnxruntime-web": moduleUrl(`${ORT}/ort.wasm.bundle.min.mjs`),
    edgernn: moduleUrl("edgernn.mjs"),
    ...Object.fromEntries(own.map((name) => [`page/${name}`, moduleUrl(name)])),
  };
}

/** Return what the page reads: ONNX Runtime's program, the contract, the graphs, the recorded run. */
function files() {
  const { graphs, sha256 } = JSON.parse(readFileSync(`${MODEL}/contract.json`, "utf8"));
  const weights = Object.keys(sha256).filter((file) => !/\.onnx$|\//.test(file));
  const golden = readdirSync(`${MODEL}/golden`).map((file) => `golden/${file}`);
  const model = ["contract.json", ...Object.values(graphs).map(({ file }) => file), ...weights, ...golden];
  return [`${ORT}/ort-wasm-simd-threaded.wasm`, ...model.map((file) => `${MODEL}/${file}`)];
}

const inside = files().map((file) =>
  `<script type="application/gzip" data-file="${file}">${gzipSync(readFileSync(file)).toString("base64")}</script>\n`);
const page = readFileSync("index.html", "utf8")
  .replace(/<link rel="stylesheet"[^>]*>/, () => `<style>\n${readFileSync("page.css", "utf8")}</style>`)
  .replace(/(<script type="importmap">)[^]*?(<\/script>)/, (_, start, end) => start + JSON.stringify({ imports: modules() }) + end)
  .replace("<script>", () => `${inside.join("")}<script>`);
writeFileSync("offline.html", page);

const url = pathToFileURL(resolve("offline.html")).href;
console.log(`${url}  (${(page.length / 1e6).toFixed(1)} MB)`);
if (process.argv.includes("--open")) {
  const [program, ...rest] = OPENERS[process.platform] ?? ["xdg-open"];
  const opener = spawn(program, [...rest, url], { detached: true, stdio: "ignore" });
  opener.on("error", () => console.error(`No browser was opened. Open ${url} in one.`));
  opener.unref();
}
