// Run an artifact of edgernn: a recurrent model with its state, on ONNX Runtime.
//
//     let model = try Model(path: "model.edgernn")
//     let stream = try model.stream()
//     let input = try Tensor("x", [Float](repeating: 0, count: 10), shape: [1, 10])
//     try input.withElements(of: Float.self) { $0[0] = 0.5 }
//     let y: [Float] = try stream.step(input)[0].elements()

import CEdgernn

/// An error of edgernn. A call that failed has changed nothing.
public struct EdgernnError: Error, CustomStringConvertible {
    /// What a caller can do about it.
    public enum Kind: Int, Sendable {
        /// A graph or an artifact breaks the contract, or is not one.
        case contract = 1
        /// ONNX Runtime is not there, lacks the provider, or failed.
        case provider
        /// An argument has the wrong name, type, shape or value.
        case input
        /// A state or a snapshot does not fit the model.
        case state
        /// There is no memory.
        case memory
    }

    public let kind: Kind
    public let message: String
    public var description: String { message }
}

/// Call C, and throw what it reports.
private func reporting(_ call: (UnsafeMutablePointer<edgernn_error>) -> edgernn_status) throws {
    var error = edgernn_error()
    let status = call(&error)
    guard let kind = EdgernnError.Kind(rawValue: Int(status.rawValue)) else { return }
    let message = withUnsafeBytes(of: error.message) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    throw EdgernnError(kind: kind, message: message)
}

/// The two graphs of an artifact.
public enum Graph: Sendable {
    /// Chunks of any length.
    case sequence
    /// One step, or one hop.
    case step

    var inC: edgernn_graph { self == .sequence ? EDGERNN_SEQUENCE : EDGERNN_STEP }
}

/// How a model is opened; the default is one thread on the CPU.
public struct ModelOptions {
    /// The path or name of ONNX Runtime's shared library. Nil takes $ONNXRUNTIME_LIBRARY, then a
    /// library of the usual name beside the program, then where the system's loader looks.
    public var library: String?
    /// What `OrtGetApiBase()` returned, where the app is linked with ONNX Runtime, as on iOS;
    /// `library` is not read then.
    public var apiBase: UnsafeRawPointer?
    /// `cpu`, or another with its options, as `coreml`.
    public var provider: String?
    /// How many threads run one call; 0 is 1.
    public var threads: Int32

    public init(
        library: String? = nil, apiBase: UnsafeRawPointer? = nil, provider: String? = nil,
        threads: Int32 = 0
    ) {
        self.library = library
        self.apiBase = apiBase
        self.provider = provider
        self.threads = threads
    }

    /// Call with the options of C, which are valid during the call.
    func withC<Result>(
        _ body: (UnsafePointer<edgernn_options>) throws -> Result
    ) rethrows -> Result {
        try withOptionalCString(library) { library in
            try withOptionalCString(provider) { provider in
                var options = edgernn_options()
                options.library = library
                options.api_base = apiBase
                options.provider = provider
                options.threads = threads
                return try body(&options)
            }
        }
    }
}

private func withOptionalCString<Result>(
    _ text: String?, _ body: (UnsafePointer<CChar>?) throws -> Result
) rethrows -> Result {
    guard let text = text else { return try body(nil) }
    return try text.withCString(body)
}

/// An input or output of a graph.
public struct ModelPort {
    public let name: String
    public let dtype: DType?
    /// The size of each axis, nil where it varies.
    public let shape: [Int?]
    /// The name of each axis: `batch`, `sequence`, `hop`, or empty.
    public let axes: [String]
    /// Ids are less than it; 0 where there is no limit.
    public let limit: Int64
    /// The first steps of an output that are not defined, and left out.
    public let delay: Int64
    /// The last steps of an output that come only from `finish`.
    public let tail: Int64
    /// Whether a stream feeds it from its state.
    public let isState: Bool
    /// Whether it holds the steps of each sequence, which a stream fills.
    public let isLengths: Bool

    init(_ port: edgernn_port) {
        name = String(cString: port.name)
        dtype = DType(rawValue: port.dtype)
        shape = (0..<port.rank).map { port.shape[$0] < 0 ? nil : Int(port.shape[$0]) }
        axes = (0..<port.rank).map { String(cString: port.axes[$0]!) }
        limit = port.limit
        delay = port.delay
        tail = port.tail
        isState = port.is_state
        isLengths = port.is_lengths
    }
}

/// The largest differences from the golden run, NaN where a way does not apply.
public struct Differences: Sendable {
    public let whole, chunks, steps: Double
    /// The control: by steps, with the state reset before each. It must differ.
    public let withoutState: Double
}

/// An open artifact. It is immutable; any number of threads may use it.
public final class Model: @unchecked Sendable {
    fileprivate let model: OpaquePointer

    /// Open an artifact's folder, or one of its graphs, an .onnx file.
    public init(path: String, options: ModelOptions = ModelOptions()) throws {
        var opened: OpaquePointer?
        try options.withC { given in
            try reporting { edgernn_open(path, given, &opened, $0) }
        }
        model = opened!
    }

    /// Open graphs that are in memory; either may be nil.
    public init(sequence: [UInt8]?, step: [UInt8]?, options: ModelOptions = ModelOptions()) throws {
        var opened: OpaquePointer?
        let first = sequence ?? []
        let second = step ?? []
        try options.withC { given in
            try reporting {
                edgernn_open_memory(
                    sequence == nil ? nil : first, first.count,
                    step == nil ? nil : second, second.count, given, &opened, $0)
            }
        }
        model = opened!
    }

    deinit { edgernn_close(model) }

    /// Open a stream at the initial state, for `batch` sequences side by side.
    public func stream(batch: Int = 1) throws -> ModelStream {
        try ModelStream(self, batch: batch)
    }

    public func hasGraph(_ graph: Graph) -> Bool { edgernn_has_graph(model, graph.inC) }

    /// Return the inputs of a graph in its order, none without the graph.
    public func inputs(of graph: Graph) -> [ModelPort] {
        (0..<edgernn_input_count(model, graph.inC)).map {
            ModelPort(edgernn_input(model, graph.inC, $0).pointee)
        }
    }

    /// Return the outputs of a graph in its order, none without the graph.
    public func outputs(of graph: Graph) -> [ModelPort] {
        (0..<edgernn_output_count(model, graph.inC)).map {
            ModelPort(edgernn_output(model, graph.inC, $0).pointee)
        }
    }

    /// Return the entry `edgernn.KEY` of the graphs' metadata, nil without it.
    public func metadata(_ key: String) -> String? {
        edgernn_metadata(model, key).map { String(cString: $0) }
    }

    /// The steps of the input that one call of `step` takes; 1 for most models.
    public var hop: Int { edgernn_hop(model) }

    /// Whether a state goes from chunk to chunk. Where it does not, only `run` runs the model.
    public var carries: Bool { edgernn_carries(model) }

    /// The provider that runs the nodes, as `cpu`.
    public var provider: String { String(cString: edgernn_provider(model)) }

    /// The version of ONNX Runtime, as `1.31.1`.
    public var onnxruntimeVersion: String { String(cString: edgernn_onnxruntime_version(model)) }

    /// Run a golden run, a folder with an array for each port, whole, by chunks and by steps. Nil is
    /// the artifact's own.
    public func check(golden folder: String? = nil) throws -> Differences {
        var found = edgernn_differences()
        try withOptionalCString(folder) { name in
            try reporting { edgernn_check(model, name, &found, $0) }
        }
        return Differences(
            whole: found.whole, chunks: found.chunks, steps: found.steps,
            withoutState: found.without_state)
    }

    /// The number of symbols; 0 where the model has no vocabulary.
    public var vocabularySize: Int { edgernn_vocabulary_size(model) }

    /// Return the symbol of an id, nil for one that is not in the vocabulary.
    public func symbol(_ id: Int64) -> String? {
        edgernn_symbol(model, id).map { String(cString: $0) }
    }

    /// Return the ids of a text, taking the longest symbol that fits at each place.
    public func encode(_ text: String) throws -> [Int64] {
        var count = 0
        let size = text.utf8.count
        try reporting { edgernn_encode(model, text, size, nil, 0, &count, $0) }
        var ids = [Int64](repeating: 0, count: count)
        let capacity = count
        try reporting { edgernn_encode(model, text, size, &ids, capacity, &count, $0) }
        return ids
    }

    /// Return the text of ids; padding is left out.
    public func decode(_ ids: [Int64]) throws -> String {
        var size = 0
        try reporting { edgernn_decode(model, ids, ids.count, nil, 0, &size, $0) }
        var text = [CChar](repeating: 0, count: size + 1)
        let capacity = size + 1
        try reporting { edgernn_decode(model, ids, ids.count, &text, capacity, &size, $0) }
        return String(cString: text)
    }
}

/// One running state of a model, for a number of sequences side by side. It belongs to one thread at
/// a time; streams of one model run in parallel.
public final class ModelStream {
    private typealias Call = (
        OpaquePointer?, UnsafePointer<edgernn_tensor>?, Int,
        UnsafeMutablePointer<UnsafePointer<edgernn_tensor>?>?, UnsafeMutablePointer<Int>?,
        UnsafeMutablePointer<edgernn_error>?
    ) -> edgernn_status

    private let stream: OpaquePointer

    fileprivate init(_ model: Model, batch: Int) throws {
        guard batch >= 0 else {
            throw EdgernnError(kind: .input, message: "`batch` is \(batch), not at least 1.")
        }
        var opened: OpaquePointer?
        try reporting { edgernn_stream_open(model.model, batch, &opened, $0) }
        stream = opened!
    }

    deinit { edgernn_stream_close(stream) }

    /// Run one step of a model with one input.
    public func step(_ input: Tensor) throws -> [Tensor] { try step([input]) }

    /// Run one step, or one hop where the model takes several steps at a time. Inputs have the shape
    /// of the step graph's ports, in any order; outputs are in the order of the graph.
    public func step(_ inputs: [Tensor]) throws -> [Tensor] { try call(edgernn_step, inputs) }

    /// Run a chunk of any number of steps, exactly as the same steps one by one. Steps that do not
    /// fill a hop are kept for the next chunk.
    public func feed(_ inputs: [Tensor]) throws -> [Tensor] { try call(edgernn_feed, inputs) }

    /// End the sequence, and return the steps of outputs that come only then. The stream takes no
    /// more steps before `reset` or `restore`.
    public func finish(_ inputs: [Tensor] = []) throws -> [Tensor] { try call(edgernn_finish, inputs) }

    /// Run whole sequences from the initial state, as the model itself would. The stream's own
    /// sequence is dropped.
    public func run(_ inputs: [Tensor]) throws -> [Tensor] { try call(edgernn_run, inputs) }

    private func call(_ way: Call, _ inputs: [Tensor]) throws -> [Tensor] {
        var outputs: UnsafePointer<edgernn_tensor>?
        var count = 0
        let given = inputs.map { $0.inC }
        try withExtendedLifetime(inputs) {
            try reporting { way(stream, given, given.count, &outputs, &count, $0) }
        }
        return UnsafeBufferPointer(start: outputs, count: count).map { Tensor($0) }
    }

    /// Return to the initial state; steps that are kept for a hop are dropped.
    public func reset() { edgernn_reset(stream) }

    /// The steps that were run since the stream was opened or reset.
    public var steps: UInt64 { edgernn_steps(stream) }

    /// The steps that are kept until they fill a hop.
    public var rest: Int { edgernn_rest(stream) }

    /// Return all that a stream of the same artifact and batch needs to go on from here.
    public func snapshot() throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: edgernn_snapshot_size(stream))
        let size = bytes.count
        try reporting { edgernn_snapshot(stream, &bytes, size, $0) }
        return bytes
    }

    /// Go on from a snapshot of a stream of the same artifact and batch.
    public func restore(_ snapshot: [UInt8]) throws {
        try reporting { edgernn_restore(stream, snapshot, snapshot.count, $0) }
    }

    /// Return a copy of a state by the name of its input, as `h_in`.
    public func state(_ name: String) throws -> Tensor {
        var value: UnsafePointer<edgernn_tensor>?
        try reporting { edgernn_state(stream, name, &value, $0) }
        return Tensor(value!.pointee)
    }

    /// Set a state by the name of its input.
    public func setState(_ value: Tensor) throws {
        var given = value.inC
        try withExtendedLifetime(value) {
            try reporting { edgernn_set_state(stream, &given, $0) }
        }
    }
}
