// Replay the golden run of model.edgernn, which lies beside the program.
import Edgernn
import Foundation

/// The largest difference from the golden run that passes.
let tolerance = 1e-5  // edgernn embed: tolerance

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
func isRight(_ way: String, _ difference: Double, mustAgree: Bool) -> Bool {
    if difference.isNaN { return true }
    let right = (difference <= tolerance) == mustAgree
    let name = way.padding(toLength: 14, withPad: " ", startingAt: 0)
    print("\(name) max difference \(String(format: "%.1e", difference))\(right ? "" : ", WRONG")")
    return right
}

let folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    .deletingLastPathComponent()
do {
    let model = try Model(
        path: folder.appendingPathComponent("model.edgernn").path,
        options: Options(library: library(in: folder)))
    let found = try model.check()
    let ways = [
        isRight("whole", found.whole, mustAgree: true),
        isRight("by chunks", found.chunks, mustAgree: true),
        isRight("by steps", found.steps, mustAgree: true),
        isRight("without state", found.withoutState, mustAgree: false),
    ]
    let agrees = !ways.contains(false)
    let verdict = agrees ? "reproduces" : "DIFFERS from"
    print("The model \(verdict) its golden run; the tolerance is \(tolerance).")
    exit(agrees ? 0 : 1)
} catch {
    FileHandle.standardError.write(Data("app: \(error)\n".utf8))
    exit(2)
}
