// Run model.edgernn, which lies beside the program.
//
//     app         replay the golden run, and measure a step
//     app step    answer each line of standard input, which has the numbers of a step

import Edgernn
import Foundation

/// The largest difference from the golden run that passes.
let tolerance = 1e-5  // edgernn embed: tolerance

/// What ends the program.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Return the path of ONNX Runtime in the folder, nil where $ONNXRUNTIME_LIBRARY or the system has it.
func library(in folder: URL) -> String? {
    if ProcessInfo.processInfo.environment["ONNXRUNTIME_LIBRARY"] != nil { return nil }
    let paths = ["libonnxruntime.dylib", "libonnxruntime.so"].map {
        folder.appendingPathComponent("lib").appendingPathComponent($0).path
    }
    return paths.first { FileManager.default.fileExists(atPath: $0) }
}

/// Print a difference, and return whether it is as it must be. NaN is that of a way in which the
/// model cannot be run.
func isRight(_ way: String, _ difference: Double, limit: Double, mustAgree: Bool) -> Bool {
    if difference.isNaN { return true }
    let right = (difference <= limit) == mustAgree
    let name = way.padding(toLength: 14, withPad: " ", startingAt: 0)
    print("\(name) max difference \(String(format: "%.1e", difference))\(right ? "" : ", WRONG")")
    return right
}

/// Replay the golden run, print how far each way is from it, and return whether the model gives it.
func check(_ model: Model) throws -> Bool {
    let found = try model.check()
    let ways = [
        isRight("whole", found.whole, limit: tolerance, mustAgree: true),
        isRight("by chunks", found.chunks, limit: tolerance, mustAgree: true),
        isRight("by steps", found.steps, limit: tolerance, mustAgree: true),
        isRight("without state", found.withoutState, limit: found.steps.isNaN ? found.chunks : found.steps, mustAgree: false),
    ]
    let agrees = !ways.contains(false)
    let verdict = agrees ? "reproduces" : "DIFFERS from"
    print("The model \(verdict) its golden run; the tolerance is \(tolerance).")
    if model.hasGraph(.step) {
        print("time           \(String(format: "%.1f", try timeStep(model))) µs per step")
    }
    return agrees
}

/// Return the time of a step in microseconds: the median of blocks of steps of zeros.
func timeStep(_ model: Model) throws -> Double {
    let step = try Step(model)
    let times = try (0..<101).map { _ -> Double in
        step.stream.reset()
        let start = Date()
        for _ in 0..<step.most { _ = try step.stream.step(step.inputs) }
        return Date().timeIntervalSince(start) * 1e6 / Double(step.most)
    }
    return times.sorted()[times.count / 2]
}

/// A stream, the inputs of a step, which `answer` overwrites, the number of elements of each output,
/// and the most steps of a sequence, at most 20.
struct Step {
    let stream: ModelStream
    let inputs: [Tensor]
    let counts: [Int]
    let most: Int64

    init(_ model: Model) throws {
        let ports = model.inputs(of: .step).filter { !$0.isState && !$0.isLengths }
        let batches = ports.compactMap { port in
            port.axes.firstIndex(of: "batch").flatMap { port.shape[$0] }
        }
        inputs = try ports.map { try zeros($0, $0.shape.map { $0 ?? 1 }) }
        counts = model.outputs(of: .step).filter { !$0.isState }.map { port in
            port.shape.reduce(1) { $0 * ($1 ?? 1) }
        }
        let limits = model.inputs(of: .step).filter { $0.isState && $0.limit > 0 }.map { $0.limit }
        most = min(20, limits.min() ?? 20)  // where a table of positions ends
        stream = try model.stream(batch: batches.first ?? 1)
    }
}

func zeros(_ port: ModelPort, _ shape: [Int]) throws -> Tensor {
    let count = shape.reduce(1, *)
    switch port.dtype {
    case .float32: return try Tensor(port.name, [Float](repeating: 0, count: count), shape: shape)
    case .float64: return try Tensor(port.name, [Double](repeating: 0, count: count), shape: shape)
    case .int32: return try Tensor(port.name, [Int32](repeating: 0, count: count), shape: shape)
    case .int64: return try Tensor(port.name, [Int64](repeating: 0, count: count), shape: shape)
    case .bool: return try Tensor(port.name, [Bool](repeating: false, count: count), shape: shape)
    default: throw Failure("`\(port.name)` has elements that this program does not read")
    }
}

/// Read the numbers of a step from each line, separated by commas or white space, and answer with
/// those of the outputs. An empty line starts a new sequence.
func answer(_ model: Model) throws {
    guard model.hasGraph(.step) else {
        throw Failure("the model has no step. Run whole sequences with ModelStream.run")
    }
    let step = try Step(model)
    var number = 0
    while let line = readLine() {
        number += 1
        let words = line.split { $0 == "," || $0.isWhitespace }.map(String.init)
        var answers: [String] = []
        if words.isEmpty {
            step.stream.reset()
        } else {
            do {
                try parse(words, step.inputs)
                let outputs = try step.stream.step(step.inputs)
                answers = try zip(outputs, step.counts).flatMap { output, count -> [String] in
                    let numbers = try texts(output)
                    return [String](repeating: "", count: count - numbers.count) + numbers
                }
            } catch {
                throw Failure("line \(number): \(error)")
            }
        }
        print(answers.joined(separator: ","))
        fflush(stdout)
    }
}

/// Write the numbers of a line into the inputs.
func parse(_ words: [String], _ inputs: [Tensor]) throws {
    let total = inputs.reduce(0) { $0 + $1.count }
    guard words.count == total else {
        throw Failure("\(words.count) numbers came, but a step takes \(total)")
    }
    var rest = words[...]
    for input in inputs {
        let own = rest.prefix(input.count)
        rest = rest.dropFirst(input.count)
        switch input.dtype {
        case .float32: try write(own, input, Float.init)
        case .float64: try write(own, input, Double.init)
        case .int32: try write(own, input) { Int32($0) }
        case .int64: try write(own, input) { Int64($0) }
        default: try write(own, input) { $0 == "1" ? true : $0 == "0" ? false : nil }
        }
    }
}

func write<T: TensorElement>(_ words: ArraySlice<String>, _ input: Tensor, _ read: (String) -> T?) throws {
    try input.withElements(of: T.self) { elements in
        for (place, word) in words.enumerated() {
            guard let value = read(word) else {
                throw Failure("`\(word)` is not \(input.dtype), as `\(input.name ?? "")` takes")
            }
            elements[place] = value
        }
    }
}

/// Return the numbers of an output, without those that are not defined yet.
func texts(_ output: Tensor) throws -> [String] {
    switch output.dtype {
    case .float32: return try output.elements(of: Float.self).map { String(format: "%.9g", $0) }
    case .float64: return try output.elements(of: Double.self).map { String(format: "%.17g", $0) }
    case .int32: return try output.elements(of: Int32.self).map { "\($0)" }
    case .int64: return try output.elements(of: Int64.self).map { "\($0)" }
    case .bool: return try output.elements(of: Bool.self).map { $0 ? "1" : "0" }
    default: throw Failure("`\(output.name ?? "")` has elements that this program does not print")
    }
}

let folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    .deletingLastPathComponent()
let words = CommandLine.arguments.dropFirst()
do {
    guard words.isEmpty || Array(words) == ["step"] else { throw Failure("usage: app [step]") }
    let model = try Model(
        path: folder.appendingPathComponent("model.edgernn").path,
        options: ModelOptions(library: library(in: folder)))
    if words.isEmpty { exit(try check(model) ? 0 : 1) }
    try answer(model)
} catch {
    FileHandle.standardError.write(Data("app: \(error)\n".utf8))
    exit(2)
}
