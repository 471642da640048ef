import CEdgernn

/// The type of the elements of a tensor, by ONNX's numbers.
public enum DType: Int32, Sendable {
    case float32 = 1, uint8, int8, uint16, int16, int32, int64
    case bool = 9, float16, float64, uint32, uint64

    /// The bytes of an element.
    public var size: Int {
        switch self {
        case .bool, .int8, .uint8: return 1
        case .float16, .int16, .uint16: return 2
        case .float32, .int32, .uint32: return 4
        case .float64, .int64, .uint64: return 8
        }
    }
}

/// A type of elements of a tensor.
public protocol TensorElement {
    static var dtype: DType { get }
}

extension Float: TensorElement { public static var dtype: DType { .float32 } }
extension Double: TensorElement { public static var dtype: DType { .float64 } }
extension Bool: TensorElement { public static var dtype: DType { .bool } }
extension Int8: TensorElement { public static var dtype: DType { .int8 } }
extension Int16: TensorElement { public static var dtype: DType { .int16 } }
extension Int32: TensorElement { public static var dtype: DType { .int32 } }
extension Int64: TensorElement { public static var dtype: DType { .int64 } }
extension UInt8: TensorElement { public static var dtype: DType { .uint8 } }
extension UInt16: TensorElement { public static var dtype: DType { .uint16 } }
extension UInt32: TensorElement { public static var dtype: DType { .uint32 } }
extension UInt64: TensorElement { public static var dtype: DType { .uint64 } }

/// The bits of an IEEE 754 number of half precision, on every platform.
public struct Half: TensorElement {
    public var bits: UInt16
    public init(bits: UInt16) { self.bits = bits }
    public static var dtype: DType { .float16 }
}

/// An array in row-major order: an input, an output or a state. It owns its elements, which can be
/// written in place, so that one tensor serves every step.
public final class Tensor {
    /// The port; of an input it may be nil where the model has one data input.
    public let name: String?
    public let dtype: DType
    public let shape: [Int]
    /// The number of elements.
    public let count: Int
    /// Whether an output has a value. At the start of a sequence, one without an axis of steps may
    /// have none yet.
    public let isDefined: Bool

    private let data: UnsafeMutableRawPointer
    private let sizes: UnsafeMutablePointer<Int64>
    private let letters: UnsafeMutablePointer<CChar>?

    /// Copy elements into a tensor. No shape is a tensor without axes.
    public convenience init<T: TensorElement>(
        _ name: String? = nil, _ elements: [T], shape: [Int] = []
    ) throws {
        guard Tensor.product(shape) == elements.count else {
            throw EdgernnError(
                kind: .input,
                message: "Input `\(name ?? "")` has shape \(shape), but \(elements.count) elements. "
                    + "Give as many as the shape says.")
        }
        self.init(name, T.dtype, shape, elements.count, isDefined: true)
        elements.withUnsafeBytes { bytes in
            if let first = bytes.baseAddress { data.copyMemory(from: first, byteCount: bytes.count) }
        }
    }

    /// Copy an output of C.
    convenience init(_ output: edgernn_tensor) {
        let shape = (0..<output.rank).map { Int(output.shape[$0]) }
        let count = Tensor.product(shape) ?? 0
        let name = output.name.map { String(cString: $0) }
        let dtype = DType(rawValue: output.dtype)!
        self.init(name, dtype, shape, count, isDefined: output.data != nil)
        if let elements = output.data {
            data.copyMemory(from: elements, byteCount: count * dtype.size)
        }
    }

    private init(_ name: String?, _ dtype: DType, _ shape: [Int], _ count: Int, isDefined: Bool) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.count = count
        self.isDefined = isDefined
        data = .allocate(byteCount: max(count * dtype.size, 1), alignment: 16)
        sizes = .allocate(capacity: max(shape.count, 1))
        for (axis, size) in shape.enumerated() { sizes[axis] = Int64(size) }
        if let text = name?.utf8CString {
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: text.count)
            for (place, letter) in text.enumerated() { copy[place] = letter }
            letters = copy
        } else {
            letters = nil
        }
    }

    deinit {
        data.deallocate()
        sizes.deallocate()
        letters?.deallocate()
    }

    /// Return a copy of the elements, none where an output is not defined yet.
    public func elements<T: TensorElement>(of type: T.Type = T.self) throws -> [T] {
        try withElements(of: type) { Array($0) }
    }

    /// Read or write the elements in place, none where an output is not defined yet.
    public func withElements<T: TensorElement, Result>(
        of type: T.Type = T.self, _ body: (UnsafeMutableBufferPointer<T>) throws -> Result
    ) throws -> Result {
        guard T.dtype == dtype else {
            throw EdgernnError(
                kind: .input,
                message: "`\(name ?? "")` has elements of \(dtype), not \(T.dtype).")
        }
        let first = data.assumingMemoryBound(to: type)
        return try body(UnsafeMutableBufferPointer(start: first, count: isDefined ? count : 0))
    }

    /// The tensor of C, valid as long as this one.
    var inC: edgernn_tensor {
        edgernn_tensor(
            name: letters, dtype: dtype.rawValue, rank: shape.count, shape: sizes,
            data: isDefined ? UnsafeRawPointer(data) : nil)
    }

    /// Return the elements of a shape, nil where there can be no such array.
    private static func product(_ shape: [Int]) -> Int? {
        var count = 1
        for size in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            if size < 0 || overflow { return nil }
            count = product
        }
        return count
    }
}
