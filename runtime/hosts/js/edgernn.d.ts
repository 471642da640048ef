/** Run an artifact of edgernn on onnxruntime-node or onnxruntime-web. */

export type Dtype =
  | "float32" | "float16" | "float64" | "bool"
  | "int8" | "int16" | "int32" | "int64"
  | "uint8" | "uint16" | "uint32" | "uint64";

export type Data =
  | Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** An array with its dims, as a tensor of ONNX Runtime. Data of float16 are bits where the platform
 * has no Float16Array; `numbers` reads both. */
export interface Tensor {
  readonly type: Dtype;
  readonly data: Data;
  readonly dims: readonly number[];
}

export type Numbers = number | bigint | boolean | readonly Numbers[];

/** What a call takes for an input: a typed array of the port's dtype, numbers, or data with dims.
 *
 * Of data without dims, the size of one axis follows from their number. Numbers are converted to the
 * port's dtype; typed arrays must be of that dtype. */
export type Input =
  | Data
  | Numbers
  | { readonly data: Data | Numbers; readonly dims: readonly number[]; readonly type?: string };

/** Inputs by name; an input alone where the model has one data input. */
export type Inputs = Readonly<Record<string, Input>> | Input;

/** Outputs by name; null for one without an axis of steps that is not defined yet. */
export type Outputs = Record<string, Tensor | null>;

export type Kind = "contract" | "provider" | "input" | "state" | "memory";

/** Every error that this module raises on purpose; its message names the remedy. */
export class EdgernnError extends Error {
  constructor(kind: Kind, message: string, options?: { cause?: unknown });
  readonly kind: Kind;
}

/** An input or output of a graph. */
export interface Port {
  readonly name: string;
  readonly dtype: Dtype;
  /** The size of each axis; a text where it varies: `batch`, `sequence//160`. */
  readonly shape: readonly (number | string)[];
  /** The name of each axis, `batch`, `sequence`, `hop`; null without one. */
  readonly axes: readonly (string | null)[];
  /** Ids are less than it; null where there is no limit. */
  readonly limit: number | null;
  /** Of an output, the first steps in a sequence that are not defined; a stream leaves them out. */
  readonly delay: number;
  /** Of an output, the steps that come only from `finish`. */
  readonly tail: number;
  /** Whether it belongs to a state, which a stream feeds itself. */
  readonly isState: boolean;
  /** Whether it holds the steps of each sequence; left out, all of them. */
  readonly isLengths: boolean;
}

/** The largest differences from the golden run; NaN for a way in which the model cannot run. */
export interface Differences {
  readonly whole: number;
  readonly chunks: number;
  readonly steps: number;
  /** A control: the state was set back before every step, so it must differ. */
  readonly withoutState: number;
}

/** One running state of a model; one call runs at a time, a second is an error. */
export class Stream {
  private constructor();
  readonly batch: number;
  /** The steps that were run since the stream was opened or reset. */
  readonly steps: number;
  /** The steps that are kept until they fill a hop. */
  readonly rest: number;
  /** Run one step, or one hop where the model takes several steps at a time. */
  step(inputs: Inputs): Promise<Outputs>;
  /** Run a chunk of any number of steps, exactly as the same steps one by one. */
  feed(inputs: Inputs): Promise<Outputs>;
  /** End the sequence, and return the steps of outputs that come only then. */
  finish(inputs?: Inputs): Promise<Outputs>;
  /** Run whole sequences from the initial state to their end; the stream is reset. */
  run(inputs: Inputs): Promise<Outputs>;
  /** Return to the initial state; steps that are kept for a hop are dropped. */
  reset(): void;
  /** Return a copy of a state by the name of its input, as `h_in`. */
  state(name: string): Tensor;
  /** Set a state by the name of its input. */
  setState(name: string, value: Input): void;
  /** Return all that the stream needs to go on from here, as bytes that may be stored. */
  snapshot(): Uint8Array;
  /** Continue from a snapshot of a stream of the same artifact and batch. */
  restore(snapshot: Uint8Array): void;
}

/** A loaded artifact; its streams are independent. */
export class Model {
  private constructor();
  /** The provider that runs it: `cpu`, which is WebAssembly in a browser, or the one asked for. */
  readonly provider: string;
  /** The steps of the input that one call of `step` takes; 1 for most models. */
  readonly hop: number;
  /** Whether a state goes from chunk to chunk; where not, only `run` runs the model. */
  readonly carries: boolean;
  /** The symbols of ids; null without a vocabulary. */
  readonly symbols: readonly string[] | null;
  /** The names of the states' inputs. */
  readonly states: readonly string[];
  /** The inputs of a graph, states included; none without the graph. */
  inputs(graph: "sequence" | "step"): Port[];
  /** Its outputs. */
  outputs(graph: "sequence" | "step"): Port[];
  /** The entry `edgernn.KEY` of the graphs' metadata, as `sample_rate`; null without it. */
  metadata(key: string): string | null;
  /** Open a stream for sequences side by side. */
  stream(batch?: number): Stream;
  /** Return the ids of a text: the longest symbol that fits at each place. */
  encode(text: string): number[];
  /** Return the text of ids; padding is left out. */
  decode(ids: Iterable<number | bigint>): string;
  /** Replay the golden run: that beside the model, one of another folder, or bytes of .npy files by port. */
  check(golden?: string | URL | Readonly<Record<string, Uint8Array>>): Promise<Differences>;
  /** Free the sessions; the streams of the model run no more. */
  close(): Promise<void>;
}

/** An artifact in memory: the bytes of its graphs, of contract.json (or what it parses to), and of
 * the weights beside the graphs by file name, where there are any. */
export interface Artifact {
  readonly sequence?: Uint8Array | ArrayBuffer | null;
  readonly step?: Uint8Array | ArrayBuffer | null;
  readonly contract?: Uint8Array | ArrayBuffer | string | object | null;
  readonly weights?: Readonly<Record<string, Uint8Array>>;
}

export interface Options {
  /** `cpu`, `webgpu` or another of ONNX Runtime, also as its object of options. */
  readonly provider?: string | { readonly name: string };
  /** How many threads run one call; 1. */
  readonly threads?: number;
  /** More options of ONNX Runtime's sessions. */
  readonly sessionOptions?: object;
}

/** What this module uses of onnxruntime-node or onnxruntime-web. */
export interface OnnxRuntime {
  readonly InferenceSession: { create(bytes: Uint8Array, options?: object): Promise<unknown> };
  readonly Tensor: unknown;
  readonly env: unknown;
}

/** Open an artifact.
 *
 * ort: `import * as ort from "onnxruntime-node"`, or from onnxruntime-web. source: the path or URL of
 * its folder, or of one of its graphs; or the artifact in memory. Where there is a contract.json, the
 * graphs are compared with its digests. */
export function open(
  ort: OnnxRuntime, source: string | URL | Artifact, options?: Options,
): Promise<Model>;

/** Return the numbers of a tensor: its data, but those of float16 as a Float32Array. */
export function numbers(tensor: Tensor): Data;
