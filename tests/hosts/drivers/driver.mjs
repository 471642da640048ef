/**
 * Drive the JavaScript host: one command a line, one answer a line (tests/hosts/host_drivers.py).
 *
 * In Node, it runs by itself; a page imports `makeDriver` (driver.html).
 */

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, bool: Uint8Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};

const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/** Read a tensor: [its name, { type, dims, data }]. */
function parseTensor(word) {
  const [name, type, shape, hex] = word.split(":");
  const dims = shape.split(",").filter(Boolean).map(Number);
  return [name, { type, dims, data: new ARRAYS[type](fromHex(hex).buffer) }];
}

function formatTensor(name, tensor) {
  if (!tensor) return `${name}:float32::-`;
  const { type, dims, data } = tensor;
  return `${name}:${type}:${dims}:${toHex(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))}`;
}

/** Return the inputs of a call: by name, or the only one. */
function inputsOf(words) {
  const tensors = words.map(parseTensor);
  return tensors.length === 1 && !tensors[0][0] ? tensors[0][1] : Object.fromEntries(tensors);
}

/**
 * Return a function that answers a command.
 *
 * edgernn: the module. ort: ONNX Runtime. locate: from a path in a command to a source of `open`.
 */
export function makeDriver(edgernn, ort, locate) {
  let model, stream;
  const open = async (source, provider) => {
    model = await edgernn.open(ort, source, provider ? { provider } : {});
  };
  const call = (way) => async (...words) => {
    const outputs = await stream[way](inputsOf(words));
    return Object.keys(outputs).map((name) => formatTensor(name, outputs[name])).join(" ");
  };
  const commands = {
    open: async (path, provider) => open(locate(path), provider),
    open_memory: async (path, provider) => {
      const bytes = async (name) => {
        const url = locate(`${path}/${name}`);
        const loaded = await (typeof url === "string" && !/^http/.test(url)
          ? import("node:fs").then((fs) => fs.existsSync(url) ? fs.readFileSync(url) : null)
          : fetch(url).then((response) => response.ok ? response.arrayBuffer() : null));
        return loaded && new Uint8Array(loaded);
      };
      await open({ sequence: await bytes("sequence.onnx"), step: await bytes("step.onnx") }, provider);
    },
    facts: async () => `hop=${model.hop} carries=${model.carries} `
      + `vocabulary=${model.symbols?.length ?? 0} provider=${model.provider}`,
    metadata: async (key) => model.metadata(key) ?? "",
    stream: async (batch) => { stream = model.stream(Number(batch)); },
    step: call("step"), feed: call("feed"), finish: call("finish"), run: call("run"),
    reset: async () => stream.reset(),
    counts: async () => `${stream.steps} ${stream.rest}`,
    snapshot: async () => toHex(stream.snapshot()),
    restore: async (hex = "") => stream.restore(fromHex(hex)),
    state: async (name) => formatTensor(name, stream.state(name)),
    set_state: async (word) => stream.setState(...parseTensor(word)),
    encode: async (hex = "") => model.encode(new TextDecoder().decode(fromHex(hex))).join(" "),
    decode: async (...ids) => toHex(new TextEncoder().encode(model.decode(ids.map(Number)))),
    check: async (golden) => {
      const { whole, chunks, steps, withoutState } = await model.check(locate(golden));
      return [whole, chunks, steps, withoutState].map((one) =>
        Number.isNaN(one) ? "nan" : one === Infinity ? "inf" : String(one)).join(" ");
    },
    close: async () => { await model.close(); },
  };
  return async (line) => {
    const [command, ...words] = line.trim().split(" ");
    try {
      return `ok ${(await commands[command](...words)) ?? ""}`.trimEnd();
    } catch (error) {
      if (!(error instanceof edgernn.EdgernnError)) throw error;
      return `error ${error.kind} ${error.message.replaceAll("\n", " ")}`;
    }
  };
}

/** Answer the lines of standard input. */
async function main() {
  const { createRequire } = await import("node:module");
  const { createInterface } = await import("node:readline");
  const edgernn = await import("../../../runtime/hosts/js/edgernn.mjs");
  const require = createRequire(`${process.env.EDGERNN_NODE_MODULES}/`);
  const answer = makeDriver(edgernn, require(process.argv[2] ?? "onnxruntime-node"), (path) => path);
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${await answer(line)}\n`);
  }
}

if (globalThis.process?.argv[1]?.endsWith("driver.mjs")) await main();
