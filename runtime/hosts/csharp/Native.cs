using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Edgernn
{
    /// <summary>The C interface of edgernn.h. Every struct here is blittable.</summary>
    internal static unsafe class Native
    {
        private const string Core = "edgernn"; // libedgernn.so, libedgernn.dylib, edgernn.dll

        public const int MessageSize = 1024;

        [StructLayout(LayoutKind.Sequential)]
        public struct Tensor
        {
            public byte* Name;
            public int DType;
            public UIntPtr Rank;
            public long* Shape;
            public void* Data;
        }

        [StructLayout(LayoutKind.Sequential)]
        public struct Port
        {
            public byte* Name;
            public int DType;
            public UIntPtr Rank;
            public long* Shape;
            public byte** Axes;
            public long Limit;
            public long Delay;
            public long Tail;
            public byte IsState;
            public byte IsLengths;
        }

        [StructLayout(LayoutKind.Sequential)]
        public struct Options
        {
            public byte* Library;
            public IntPtr ApiBase;
            public byte* Provider;
            public int Threads;
        }

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_open(byte* path, Options* options, IntPtr* model, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_open_memory(byte* sequence, UIntPtr sequenceSize, byte* step,
            UIntPtr stepSize, Options* options, IntPtr* model, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern void edgernn_close(IntPtr model);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        [return: MarshalAs(UnmanagedType.I1)]
        public static extern bool edgernn_has_graph(ModelHandle model, Graph graph);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern UIntPtr edgernn_input_count(ModelHandle model, Graph graph);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern UIntPtr edgernn_output_count(ModelHandle model, Graph graph);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern Port* edgernn_input(ModelHandle model, Graph graph, UIntPtr place);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern Port* edgernn_output(ModelHandle model, Graph graph, UIntPtr place);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* edgernn_metadata(ModelHandle model, byte* key);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern UIntPtr edgernn_hop(ModelHandle model);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        [return: MarshalAs(UnmanagedType.I1)]
        public static extern bool edgernn_carries(ModelHandle model);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* edgernn_provider(ModelHandle model);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* edgernn_onnxruntime_version(ModelHandle model);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_check(ModelHandle model, byte* golden,
            Differences* differences, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern UIntPtr edgernn_vocabulary_size(ModelHandle model);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern byte* edgernn_symbol(ModelHandle model, long id);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_encode(ModelHandle model, byte* text, UIntPtr size,
            long* ids, UIntPtr capacity, UIntPtr* count, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_decode(ModelHandle model, long* ids, UIntPtr count,
            byte* text, UIntPtr capacity, UIntPtr* size, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_stream_open(ModelHandle model, UIntPtr batch,
            IntPtr* stream, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern void edgernn_stream_close(IntPtr stream);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_step(IntPtr stream, Tensor* inputs, UIntPtr count,
            Tensor** outputs, UIntPtr* outputCount, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_feed(IntPtr stream, Tensor* inputs, UIntPtr count,
            Tensor** outputs, UIntPtr* outputCount, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_finish(IntPtr stream, Tensor* inputs, UIntPtr count,
            Tensor** outputs, UIntPtr* outputCount, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_run(IntPtr stream, Tensor* inputs, UIntPtr count,
            Tensor** outputs, UIntPtr* outputCount, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern void edgernn_reset(IntPtr stream);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern ulong edgernn_steps(IntPtr stream);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern UIntPtr edgernn_rest(IntPtr stream);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern UIntPtr edgernn_snapshot_size(IntPtr stream);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_snapshot(IntPtr stream, byte* buffer, UIntPtr size, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_restore(IntPtr stream, byte* snapshot, UIntPtr size, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_state(IntPtr stream, byte* name, Tensor** value, byte* error);

        [DllImport(Core, CallingConvention = CallingConvention.Cdecl)]
        public static extern int edgernn_set_state(IntPtr stream, Tensor* value, byte* error);

        /// <summary>Throw the error of a call that failed.</summary>
        public static void Check(int status, byte* error)
        {
            if (status != 0) throw new EdgernnException((ErrorKind)status, Text(error));
        }

        /// <summary>Return a text of C, null for NULL.</summary>
        public static string Text(byte* text)
        {
            if (text == null) return null;
            var size = 0;
            while (text[size] != 0) size++;
            return size == 0 ? "" : Encoding.UTF8.GetString(text, size);
        }

        /// <summary>Return a text for C with its NUL, null for null.</summary>
        public static byte[] Bytes(string text)
        {
            if (text == null) return null;
            if (text.IndexOf('\0') >= 0)
                throw new EdgernnException(ErrorKind.Input,
                    $"`{text.Replace("\0", "\\0")}` has a NUL character. Give text without one.");
            return Encoding.UTF8.GetBytes(text + "\0");
        }
    }

    /// <summary>A model of the core; closed once, when nothing uses it any more.</summary>
    internal sealed class ModelHandle : SafeHandle
    {
        public ModelHandle(IntPtr model) : base(IntPtr.Zero, true)
        {
            SetHandle(model);
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        protected override bool ReleaseHandle()
        {
            Native.edgernn_close(handle);
            return true;
        }
    }

    /// <summary>A stream of the core, and the memory that its calls read.</summary>
    internal sealed class StreamHandle : SafeHandle
    {
        public IntPtr Memory;

        public StreamHandle(IntPtr stream) : base(IntPtr.Zero, true)
        {
            SetHandle(stream);
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        protected override bool ReleaseHandle()
        {
            Native.edgernn_stream_close(handle);
            Marshal.FreeHGlobal(Memory);
            return true;
        }
    }
}
