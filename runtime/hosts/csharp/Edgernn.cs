// Run an artifact of edgernn: a recurrent model with its state, on ONNX Runtime.
//
//     using (var model = Model.Open("model.edgernn"))
//     using (var stream = model.OpenStream())
//     {
//         var x = new float[10];
//         var inputs = new Tensor[] { Tensor.Of("x", x, 1, 10) }; // made once: it refers to x
//         while (Read(x))
//         {
//             Span<float> y = stream.Step(inputs)[0].Data<float>(); // until the next call
//         }
//     }

using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Edgernn
{
    /// <summary>What a caller can do about an error.</summary>
    public enum ErrorKind
    {
        /// <summary>A graph or an artifact breaks the contract, or is not one.</summary>
        Contract = 1,
        /// <summary>ONNX Runtime is not there, lacks the provider, or failed.</summary>
        Provider = 2,
        /// <summary>An argument has the wrong name, type, shape or value.</summary>
        Input = 3,
        /// <summary>A state or a snapshot does not fit the model.</summary>
        State = 4,
        /// <summary>There is no memory.</summary>
        Memory = 5
    }

    /// <summary>An error of edgernn. The call has changed nothing. A call on a closed model or stream
    /// throws ObjectDisposedException instead.</summary>
    public sealed class EdgernnException : Exception
    {
        public EdgernnException(ErrorKind kind, string message) : base(message)
        {
            Kind = kind;
        }

        public ErrorKind Kind { get; }
    }

    /// <summary>The two graphs of an artifact: chunks of any length, and one step or hop.</summary>
    public enum Graph
    {
        Sequence = 0,
        Step = 1
    }

    /// <summary>How a model is opened; the default is one thread on the CPU.</summary>
    public sealed class ModelOptions
    {
        /// <summary>The path or name of ONNX Runtime's shared library. Null takes
        /// $ONNXRUNTIME_LIBRARY, then a library of the usual name beside the program or the core,
        /// then where the system's loader looks.</summary>
        public string Library { get; set; }

        /// <summary>What OrtGetApiBase() returned, where the app is linked with ONNX Runtime, as on
        /// iOS; Library is not read then.</summary>
        public IntPtr ApiBase { get; set; }

        /// <summary>`cpu`, or another with its options, as `cuda:device_id=1,use_tf32=0`.</summary>
        public string Provider { get; set; }

        /// <summary>How many threads run one call; 0 is 1.</summary>
        public int Threads { get; set; }
    }

    /// <summary>An input or output of a graph.</summary>
    public sealed class Port
    {
        internal unsafe Port(Native.Port* port)
        {
            Name = Native.Text(port->Name);
            DType = (DType)port->DType;
            Shape = new long[(int)port->Rank];
            Axes = new string[Shape.Length];
            for (var axis = 0; axis < Shape.Length; axis++)
            {
                Shape[axis] = port->Shape[axis];
                Axes[axis] = Native.Text(port->Axes[axis]);
            }
            Limit = port->Limit;
            Delay = port->Delay;
            Tail = port->Tail;
            IsState = port->IsState != 0;
            IsLengths = port->IsLengths != 0;
        }

        public string Name { get; }

        public DType DType { get; }

        /// <summary>The size of each axis, -1 where it varies.</summary>
        public long[] Shape { get; }

        /// <summary>The name of each axis: `batch`, `sequence`, `hop`, or empty.</summary>
        public string[] Axes { get; }

        /// <summary>Ids are less than it; 0 where there is no limit.</summary>
        public long Limit { get; }

        /// <summary>The first steps of an output that are not defined, and left out.</summary>
        public long Delay { get; }

        /// <summary>The last steps of an output that come only from Finish.</summary>
        public long Tail { get; }

        /// <summary>Whether a stream feeds it from its state.</summary>
        public bool IsState { get; }

        /// <summary>Whether it holds the steps of each sequence, which a stream fills.</summary>
        public bool IsLengths { get; }
    }

    /// <summary>The largest differences from the golden run, NaN where a way does not apply.
    /// WithoutState is the control: by steps, with the state reset before each. It must differ.
    /// </summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Differences
    {
        public double Whole;
        public double Chunks;
        public double Steps;
        public double WithoutState;
    }

    /// <summary>An open artifact. It is immutable; any number of threads may use it.</summary>
    public sealed unsafe class Model : IDisposable
    {
        private readonly ModelHandle handle;

        private Model(IntPtr model)
        {
            handle = new ModelHandle(model);
        }

        /// <summary>Open an artifact's folder, or one of its graphs, an .onnx file.</summary>
        public static Model Open(string path, ModelOptions options = null)
        {
            var name = Native.Bytes(path ?? throw new ArgumentNullException(nameof(path)));
            fixed (byte* nameBytes = name, library = Native.Bytes(options?.Library),
                   provider = Native.Bytes(options?.Provider))
            {
                var given = Given(options, library, provider);
                IntPtr model;
                var error = stackalloc byte[Native.MessageSize];
                Native.Check(Native.edgernn_open(nameBytes, &given, &model, error), error);
                return new Model(model);
            }
        }

        /// <summary>Open graphs that are in memory; either may be null.</summary>
        public static Model OpenMemory(byte[] sequence, byte[] step, ModelOptions options = null)
        {
            fixed (byte* sequenceBytes = sequence, stepBytes = step,
                   library = Native.Bytes(options?.Library), provider = Native.Bytes(options?.Provider))
            {
                var given = Given(options, library, provider);
                IntPtr model;
                var error = stackalloc byte[Native.MessageSize];
                Native.Check(Native.edgernn_open_memory(sequenceBytes, Size(sequence), stepBytes,
                    Size(step), &given, &model, error), error);
                return new Model(model);
            }
        }

        private static Native.Options Given(ModelOptions options, byte* library, byte* provider)
        {
            return new Native.Options
            {
                Library = library, Provider = provider,
                ApiBase = options?.ApiBase ?? IntPtr.Zero, Threads = options?.Threads ?? 0
            };
        }

        private static UIntPtr Size(Array array) => (UIntPtr)(array?.Length ?? 0);

        /// <summary>Close the model. Its streams go on until they are closed themselves.</summary>
        public void Dispose() => handle.Dispose();

        /// <summary>Open a stream at the initial state, for `batch` sequences side by side.</summary>
        public ModelStream OpenStream(int batch = 1)
        {
            if (batch < 0)
                throw new EdgernnException(ErrorKind.Input, $"`batch` is {batch}, not at least 1.");
            IntPtr stream;
            var error = stackalloc byte[Native.MessageSize];
            Native.Check(Native.edgernn_stream_open(handle, (UIntPtr)batch, &stream, error), error);
            return new ModelStream(new StreamHandle(stream));
        }

        public bool HasGraph(Graph graph) => Native.edgernn_has_graph(handle, graph);

        /// <summary>Return the inputs of a graph in its order, none without the graph.</summary>
        public Port[] Inputs(Graph graph)
        {
            var ports = new Port[(int)Native.edgernn_input_count(handle, graph)];
            for (var i = 0; i < ports.Length; i++)
                ports[i] = new Port(Native.edgernn_input(handle, graph, (UIntPtr)i));
            return ports;
        }

        /// <summary>Return the outputs of a graph in its order, none without the graph.</summary>
        public Port[] Outputs(Graph graph)
        {
            var ports = new Port[(int)Native.edgernn_output_count(handle, graph)];
            for (var i = 0; i < ports.Length; i++)
                ports[i] = new Port(Native.edgernn_output(handle, graph, (UIntPtr)i));
            return ports;
        }

        /// <summary>Return the entry `edgernn.KEY` of the graphs' metadata, null without it.</summary>
        public string Metadata(string key)
        {
            fixed (byte* name = Native.Bytes(key ?? throw new ArgumentNullException(nameof(key))))
                return Native.Text(Native.edgernn_metadata(handle, name));
        }

        /// <summary>The steps of the input that one call of Step takes; 1 for most models.</summary>
        public int Hop => (int)Native.edgernn_hop(handle);

        /// <summary>Whether a state goes from chunk to chunk. Where it does not, as for a layer of
        /// both directions, only Run runs the model.</summary>
        public bool Carries => Native.edgernn_carries(handle);

        /// <summary>The provider that runs the nodes, as `cpu`.</summary>
        public string Provider => Native.Text(Native.edgernn_provider(handle));

        /// <summary>The version of ONNX Runtime, as `1.31.1`.</summary>
        public string OnnxRuntimeVersion => Native.Text(Native.edgernn_onnxruntime_version(handle));

        /// <summary>Run a golden run, a folder with an array for each port, whole, by chunks and by
        /// steps, and return the largest differences. Null is the artifact's own.</summary>
        public Differences Check(string golden = null)
        {
            fixed (byte* name = Native.Bytes(golden))
            {
                Differences differences;
                var error = stackalloc byte[Native.MessageSize];
                Native.Check(Native.edgernn_check(handle, name, &differences, error), error);
                return differences;
            }
        }

        /// <summary>The number of symbols; 0 where the model has no vocabulary.</summary>
        public int VocabularySize => (int)Native.edgernn_vocabulary_size(handle);

        /// <summary>Return the symbol of an id, null for one that is not in the vocabulary.</summary>
        public string Symbol(long id) => Native.Text(Native.edgernn_symbol(handle, id));

        /// <summary>Return the ids of a text, taking the longest symbol that fits at each place.
        /// </summary>
        public long[] Encode(string text)
        {
            var bytes = Encoding.UTF8.GetBytes((text ?? throw new ArgumentNullException(nameof(text))) + "\0");
            var error = stackalloc byte[Native.MessageSize];
            for (var ids = new long[bytes.Length];;)
            {
                UIntPtr count;
                fixed (byte* given = bytes)
                fixed (long* to = ids)
                    Native.Check(Native.edgernn_encode(handle, given, (UIntPtr)(bytes.Length - 1), to,
                        Size(ids), &count, error), error);
                var fits = (int)count <= ids.Length;
                Array.Resize(ref ids, (int)count);
                if (fits) return ids;
            }
        }

        /// <summary>Return the text of ids; padding is left out.</summary>
        public string Decode(long[] ids)
        {
            if (ids == null) throw new ArgumentNullException(nameof(ids));
            var error = stackalloc byte[Native.MessageSize];
            for (var text = new byte[64 + 8 * ids.Length];;)
            {
                UIntPtr size;
                fixed (long* given = ids)
                fixed (byte* to = text)
                    Native.Check(Native.edgernn_decode(handle, given, Size(ids), to, Size(text), &size,
                        error), error);
                if ((int)size < text.Length) return Encoding.UTF8.GetString(text, 0, (int)size);
                text = new byte[(int)size + 1];
            }
        }
    }
}
