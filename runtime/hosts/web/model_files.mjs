// The files of the artifact: in this page where `node build.mjs` put them, else beside it.

const FOLDER = "model.edgernn";

const inside = (path) => document.querySelector(`script[data-file="${path}"]`);

/** Return whether the page itself holds a file. */
export const isInside = (path) => inside(path) !== null;

/** Return the bytes of a file of this folder, as `model.edgernn/step.onnx`. */
export async function readFile(path) {
  if (isInside(path)) {
    const packed = await fetch(`data:;base64,${inside(path).textContent}`);
    const stream = packed.body.pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  const answer = await fetch(path).catch(() => ({ ok: false, status: "no answer" }));
  if (!answer.ok) {
    throw new Error(`\`${path}\` cannot be read (${answer.status}). Put it beside this page.`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}

/** Return the contract.json of the artifact. */
export async function readContract() {
  return JSON.parse(new TextDecoder().decode(await readFile(`${FOLDER}/contract.json`)));
}

/** Return the bytes of a file of the artifact. */
export const readModelFile = (name) => readFile(`${FOLDER}/${name}`);
