using System;
using System.Runtime.InteropServices;

namespace Edgernn
{
    /// <summary>The type of the elements of a tensor, by ONNX's numbers.</summary>
    public enum DType
    {
        Float32 = 1, UInt8 = 2, Int8 = 3, UInt16 = 4, Int16 = 5, Int32 = 6, Int64 = 7, Bool = 9,
        Float16 = 10, Float64 = 11, UInt32 = 12, UInt64 = 13
    }

    /// <summary>The bits of an IEEE 754 number of half precision.</summary>
    public struct Float16
    {
        public ushort Bits;
    }

    /// <summary>An array in row-major order: an input, an output or a state.</summary>
    public abstract class Tensor
    {
        private protected Tensor(string name, DType dtype, int[] shape)
        {
            Name = name;
            DType = dtype;
            Shape = shape;
        }

        /// <summary>The port; of an input it may be null where the model has one data input.</summary>
        public string Name { get; internal set; }

        public DType DType { get; }

        public int[] Shape { get; internal set; }

        /// <summary>Whether an output has a value. At the start of a sequence, one without an axis
        /// of steps may have none yet.</summary>
        public bool IsDefined { get; internal set; } = true;

        /// <summary>The number of elements.</summary>
        public int Count { get; internal set; }

        internal byte[] NameBytes; // the name in UTF-8 with its NUL, null where there is none

        /// <summary>Return a tensor that refers to data: what is written there later is what a
        /// later call reads. No shape is a tensor without axes.</summary>
        public static Tensor<T> Of<T>(string name, T[] data, params int[] shape) where T : struct
        {
            if (data == null) throw new ArgumentNullException(nameof(data));
            var product = 1L;
            foreach (var size in shape) product = size < 0 || product > int.MaxValue ? -1 : product * size;
            if (product != data.Length)
                throw new EdgernnException(ErrorKind.Input,
                    $"Input `{name}` has shape [{string.Join(", ", shape)}], but {data.Length} " +
                    "elements. Give as many as the shape says.");
            return new Tensor<T>(name, data, (int[])shape.Clone()) { NameBytes = Native.Bytes(name) };
        }

        /// <summary>Return the elements in row-major order; those of an output are valid until the
        /// next call of its stream. None where the output is not defined yet.</summary>
        public Span<T> Data<T>() where T : struct
        {
            if (this is Tensor<T> typed) return typed.Data;
            throw new EdgernnException(ErrorKind.Input,
                $"`{Name}` has elements of {DType}, not {DTypeOf<T>.Value}.");
        }

        /// <summary>Return a copy that later calls of a stream do not touch.</summary>
        public abstract Tensor Clone();

        internal abstract int Bytes { get; }

        internal abstract unsafe void CopyTo(byte* memory);

        internal abstract unsafe void CopyFrom(byte* memory, int count);

        /// <summary>Return whether the name is that text of C.</summary>
        internal unsafe bool IsNamed(byte* name)
        {
            foreach (var letter in NameBytes)
                if (*name++ != letter) return false;
            return true;
        }

        /// <summary>Return the empty tensor of an output.</summary>
        internal static Tensor Create(string name, DType dtype)
        {
            switch (dtype)
            {
                case DType.Float32: return new Tensor<float>(name, new float[0], new int[0]);
                case DType.Float64: return new Tensor<double>(name, new double[0], new int[0]);
                case DType.Float16: return new Tensor<Float16>(name, new Float16[0], new int[0]);
                case DType.Int8: return new Tensor<sbyte>(name, new sbyte[0], new int[0]);
                case DType.Int16: return new Tensor<short>(name, new short[0], new int[0]);
                case DType.Int32: return new Tensor<int>(name, new int[0], new int[0]);
                case DType.Int64: return new Tensor<long>(name, new long[0], new int[0]);
                case DType.UInt8: return new Tensor<byte>(name, new byte[0], new int[0]);
                case DType.UInt16: return new Tensor<ushort>(name, new ushort[0], new int[0]);
                case DType.UInt32: return new Tensor<uint>(name, new uint[0], new int[0]);
                case DType.UInt64: return new Tensor<ulong>(name, new ulong[0], new int[0]);
                default: return new Tensor<bool>(name, new bool[0], new int[0]);
            }
        }
    }

    /// <summary>A tensor with elements of a type: float, double, bool, an integer or Float16.</summary>
    public sealed class Tensor<T> : Tensor where T : struct
    {
        private T[] data;

        internal Tensor(string name, T[] data, int[] shape) : base(name, DTypeOf<T>.Value, shape)
        {
            this.data = data;
            Count = data.Length;
        }

        /// <summary>The elements in row-major order, none where an output is not defined yet.</summary>
        public Span<T> Data => new Span<T>(data, 0, IsDefined ? Count : 0);

        /// <summary>Return a copy of the elements.</summary>
        public T[] ToArray() => Data.ToArray();

        public override Tensor Clone() => new Tensor<T>(Name, ToArray(), (int[])Shape.Clone())
        {
            NameBytes = Native.Bytes(Name), IsDefined = IsDefined, Count = Count
        };

        internal override int Bytes => MemoryMarshal.AsBytes(Data).Length;

        internal override unsafe void CopyTo(byte* memory)
        {
            var bytes = MemoryMarshal.AsBytes(Data);
            bytes.CopyTo(new Span<byte>(memory, bytes.Length));
        }

        internal override unsafe void CopyFrom(byte* memory, int count)
        {
            if (data.Length < count) data = new T[count];
            Count = count;
            var bytes = MemoryMarshal.AsBytes(Data);
            new ReadOnlySpan<byte>(memory, bytes.Length).CopyTo(bytes);
        }
    }

    /// <summary>The DType of a type of C#.</summary>
    internal static class DTypeOf<T> where T : struct
    {
        private static readonly DType value = Find(typeof(T));

        public static DType Value => value != 0 ? value : throw new EdgernnException(ErrorKind.Input,
            $"A tensor has no elements of type {typeof(T)}. Give float, double, bool, an integer or Float16.");

        private static DType Find(Type type)
        {
            if (type == typeof(float)) return DType.Float32;
            if (type == typeof(double)) return DType.Float64;
            if (type == typeof(Float16)) return DType.Float16;
            if (type == typeof(bool)) return DType.Bool;
            if (type == typeof(sbyte)) return DType.Int8;
            if (type == typeof(short)) return DType.Int16;
            if (type == typeof(int)) return DType.Int32;
            if (type == typeof(long)) return DType.Int64;
            if (type == typeof(byte)) return DType.UInt8;
            if (type == typeof(ushort)) return DType.UInt16;
            if (type == typeof(uint)) return DType.UInt32;
            return type == typeof(ulong) ? DType.UInt64 : 0;
        }
    }
}
