// Run commands from standard input over Edgernn.swift, one a line.
import Edgernn
import Foundation

var model: Model!
var stream: ModelStream!

func fromHex(_ text: String) -> [UInt8] {
    let letters = Array(text.utf8)
    return stride(from: 0, to: letters.count, by: 2).map {
        UInt8(String(decoding: letters[$0..<$0 + 2], as: UTF8.self), radix: 16)!
    }
}

func toHex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

func tensor<T: TensorElement>(_ type: T.Type, _ name: String, _ bytes: [UInt8], _ shape: [Int]) throws -> Tensor {
    let elements = bytes.withUnsafeBytes { given in
        (0..<given.count / MemoryLayout<T>.size).map {
            given.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: type)
        }
    }
    return try Tensor(name == "" ? nil : name, elements, shape: shape)
}

func parse(_ words: [String]) throws -> [Tensor] {
    try words.filter { $0 != "" }.map { word in
        let parts = word.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let bytes = fromHex(parts[3])
        let shape = parts[2].split(separator: ",").map { Int($0)! }
        switch parts[1] {
        case "float32": return try tensor(Float.self, parts[0], bytes, shape)
        case "float64": return try tensor(Double.self, parts[0], bytes, shape)
        case "float16": return try tensor(Half.self, parts[0], bytes, shape)
        case "int8": return try tensor(Int8.self, parts[0], bytes, shape)
        case "int16": return try tensor(Int16.self, parts[0], bytes, shape)
        case "int32": return try tensor(Int32.self, parts[0], bytes, shape)
        case "int64": return try tensor(Int64.self, parts[0], bytes, shape)
        case "uint8": return try tensor(UInt8.self, parts[0], bytes, shape)
        case "uint16": return try tensor(UInt16.self, parts[0], bytes, shape)
        case "uint32": return try tensor(UInt32.self, parts[0], bytes, shape)
        case "uint64": return try tensor(UInt64.self, parts[0], bytes, shape)
        default: return try tensor(Bool.self, parts[0], bytes, shape)
        }
    }
}

func bytes<T: TensorElement>(_ tensor: Tensor, _ type: T.Type) throws -> [UInt8] {
    try tensor.withElements(of: type) { Array(UnsafeRawBufferPointer($0)) }
}

func text(_ tensor: Tensor) throws -> String {
    let content: [UInt8]
    switch tensor.dtype {
    case .float32: content = try bytes(tensor, Float.self)
    case .float64: content = try bytes(tensor, Double.self)
    case .float16: content = try bytes(tensor, Half.self)
    case .int8: content = try bytes(tensor, Int8.self)
    case .int16: content = try bytes(tensor, Int16.self)
    case .int32: content = try bytes(tensor, Int32.self)
    case .int64: content = try bytes(tensor, Int64.self)
    case .uint8: content = try bytes(tensor, UInt8.self)
    case .uint16: content = try bytes(tensor, UInt16.self)
    case .uint32: content = try bytes(tensor, UInt32.self)
    case .uint64: content = try bytes(tensor, UInt64.self)
    case .bool: content = try bytes(tensor, Bool.self)
    }
    let shape = tensor.shape.map(String.init).joined(separator: ",")
    let hex = tensor.isDefined ? toHex(content) : "-"
    return "\(tensor.name ?? ""):\(tensor.dtype):\(shape):\(hex)"
}

func texts(_ tensors: [Tensor]) throws -> String {
    try tensors.map(text).joined(separator: " ")
}

func read(_ folder: String, _ name: String) -> [UInt8]? {
    FileManager.default.contents(atPath: folder + "/" + name).map { [UInt8]($0) }
}

func run(_ command: String, _ words: [String]) throws -> String {
    let rest = words.joined(separator: " ")
    switch command {
    case "open":
        let provider = words.count > 1 ? words[1] : nil
        model = try Model(path: words[0], options: ModelOptions(provider: provider))
    case "open_memory":
        model = try Model(sequence: read(rest, "sequence.onnx"), step: read(rest, "step.onnx"))
    case "facts":
        return "hop=\(model.hop) carries=\(model.carries) vocabulary=\(model.vocabularySize) "
            + "provider=\(model.provider)"
    case "metadata": return model.metadata(rest) ?? ""
    case "stream": stream = try model.stream(batch: Int(rest)!)
    case "step": return try texts(stream.step(parse(words)))
    case "feed": return try texts(stream.feed(parse(words)))
    case "finish": return try texts(stream.finish(parse(words)))
    case "run": return try texts(stream.run(parse(words)))
    case "reset": stream.reset()
    case "counts": return "\(stream.steps) \(stream.rest)"
    case "snapshot": return toHex(try stream.snapshot())
    case "restore": try stream.restore(fromHex(rest))
    case "state": return try text(stream.state(rest))
    case "set_state": try stream.setState(parse(words)[0])
    case "encode":
        let ids = try model.encode(String(decoding: fromHex(rest), as: UTF8.self))
        return ids.map(String.init).joined(separator: " ")
    case "decode": return toHex(Array(try model.decode(words.map { Int64($0)! }).utf8))
    case "check":
        let found = try model.check(golden: rest)
        return [found.whole, found.chunks, found.steps, found.withoutState]
            .map { String(format: "%.9g", $0) }.joined(separator: " ")
    case "close":
        stream = nil
        model = nil
    default: fatalError("there is no command `\(command)`")
    }
    return ""
}

while let line = readLine() {
    var words = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    do {
        let reply = try run(words.removeFirst(), words)
        print(reply == "" ? "ok" : "ok \(reply)")
    } catch let error as EdgernnError {
        print("error \(error.kind) \(error.message)")
    }
    fflush(stdout)
}
