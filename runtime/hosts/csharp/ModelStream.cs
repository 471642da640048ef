using System;
using System.Runtime.InteropServices;

namespace Edgernn
{
    /// <summary>One running state of a model, for a number of sequences side by side. Its calls are
    /// serialized; for parallel work, open a stream for each thread.
    ///
    /// The outputs of a call belong to the stream: they are valid until its next call. Clone copies
    /// one.</summary>
    public sealed unsafe class ModelStream : IDisposable
    {
        private enum Way { Step, Feed, Finish, Run }

        private readonly object gate = new object();
        private readonly StreamHandle handle;
        private int capacity;
        private Tensor[] outputs = new Tensor[0];

        internal ModelStream(StreamHandle handle)
        {
            this.handle = handle;
            Reserve(1024);
        }

        /// <summary>Close the stream, before or after its model.</summary>
        public void Dispose()
        {
            lock (gate) handle.Dispose();
        }

        /// <summary>Run one step, or one hop where the model takes several steps at a time. Inputs
        /// have the shape of the step graph's ports, in any order; outputs are in the order of the
        /// graph.</summary>
        public Tensor[] Step(params Tensor[] inputs) => Call(Way.Step, inputs);

        /// <summary>Run a chunk of any number of steps, exactly as the same steps one by one. Steps
        /// that do not fill a hop are kept for the next chunk.</summary>
        public Tensor[] Feed(params Tensor[] inputs) => Call(Way.Feed, inputs);

        /// <summary>End the sequence, and return the steps of outputs that come only then. The stream
        /// takes no more steps before Reset or Restore.</summary>
        public Tensor[] Finish(params Tensor[] inputs) => Call(Way.Finish, inputs);

        /// <summary>Run whole sequences from the initial state, as the model itself would. The
        /// stream's own sequence is dropped.</summary>
        public Tensor[] Run(params Tensor[] inputs) => Call(Way.Run, inputs);

        /// <summary>Return to the initial state; steps that are kept for a hop are dropped.</summary>
        public void Reset()
        {
            lock (gate) Native.edgernn_reset(Open());
        }

        /// <summary>The steps that were run since the stream was opened or reset.</summary>
        public long Steps
        {
            get { lock (gate) return (long)Native.edgernn_steps(Open()); }
        }

        /// <summary>The steps that are kept until they fill a hop.</summary>
        public int Rest
        {
            get { lock (gate) return (int)Native.edgernn_rest(Open()); }
        }

        /// <summary>Return all that a stream of the same artifact and batch needs to go on from here.
        /// </summary>
        public byte[] Snapshot()
        {
            lock (gate)
            {
                var snapshot = new byte[(int)Native.edgernn_snapshot_size(Open())];
                var error = stackalloc byte[Native.MessageSize];
                fixed (byte* to = snapshot)
                    Native.Check(Native.edgernn_snapshot(Open(), to, (UIntPtr)snapshot.Length, error),
                        error);
                return snapshot;
            }
        }

        /// <summary>Go on from a snapshot of a stream of the same artifact and batch.</summary>
        public void Restore(byte[] snapshot)
        {
            if (snapshot == null) throw new ArgumentNullException(nameof(snapshot));
            lock (gate)
            {
                var error = stackalloc byte[Native.MessageSize];
                fixed (byte* from = snapshot)
                    Native.Check(Native.edgernn_restore(Open(), from, (UIntPtr)snapshot.Length, error),
                        error);
            }
        }

        /// <summary>Return a copy of a state by the name of its input, as `h_in`.</summary>
        public Tensor State(string name)
        {
            lock (gate)
            {
                Native.Tensor* value;
                var error = stackalloc byte[Native.MessageSize];
                fixed (byte* bytes = Native.Bytes(name ?? throw new ArgumentNullException(nameof(name))))
                    Native.Check(Native.edgernn_state(Open(), bytes, &value, error), error);
                return Read(null, value).Clone();
            }
        }

        /// <summary>Set a state by the name of its input.</summary>
        public void SetState(Tensor value)
        {
            lock (gate)
            {
                var stream = Open();
                var tensor = Place(new[] { value });
                var error = stackalloc byte[Native.MessageSize];
                Native.Check(Native.edgernn_set_state(stream, tensor, error), error);
            }
        }

        private IntPtr Open()
        {
            if (handle.IsClosed) throw new ObjectDisposedException(nameof(ModelStream));
            return handle.DangerousGetHandle(); // Dispose waits for the lock of the caller
        }

        private Tensor[] Call(Way way, Tensor[] inputs)
        {
            lock (gate)
            {
                var stream = Open();
                var given = Place(inputs);
                var count = (UIntPtr)inputs.Length;
                var error = (byte*)handle.Memory;
                Native.Tensor* found;
                UIntPtr foundCount;
                int status;
                switch (way)
                {
                    case Way.Step:
                        status = Native.edgernn_step(stream, given, count, &found, &foundCount, error);
                        break;
                    case Way.Feed:
                        status = Native.edgernn_feed(stream, given, count, &found, &foundCount, error);
                        break;
                    case Way.Finish:
                        status = Native.edgernn_finish(stream, given, count, &found, &foundCount, error);
                        break;
                    default:
                        status = Native.edgernn_run(stream, given, count, &found, &foundCount, error);
                        break;
                }
                Native.Check(status, error);
                if (outputs.Length != (int)foundCount) outputs = new Tensor[(int)foundCount];
                for (var i = 0; i < outputs.Length; i++) outputs[i] = Read(outputs[i], found + i);
                return outputs;
            }
        }

        private static int Aligned(int size) => checked(size + 15) & ~15;

        private void Reserve(int size)
        {
            if (size <= capacity) return;
            var memory = Marshal.AllocHGlobal(size);
            Marshal.FreeHGlobal(handle.Memory);
            handle.Memory = memory;
            capacity = size;
        }

        /// <summary>Copy inputs to the stream's memory, after the place of the message: tensors, then
        /// what they refer to.</summary>
        private Native.Tensor* Place(Tensor[] inputs)
        {
            if (inputs == null) throw new ArgumentNullException(nameof(inputs));
            var first = Aligned(Native.MessageSize);
            var end = first + Aligned(inputs.Length * sizeof(Native.Tensor));
            var total = end;
            foreach (var input in inputs)
            {
                if (input == null) throw new ArgumentNullException(nameof(inputs));
                if (!input.IsDefined)
                    throw new EdgernnException(ErrorKind.Input, $"Input `{input.Name}` is an output " +
                        "that is not defined yet. Give one with data.");
                total = checked(total + Aligned(8 * input.Shape.Length) + Aligned(input.Bytes)
                    + Aligned(input.NameBytes?.Length ?? 0));
            }
            Reserve(total);
            var memory = (byte*)handle.Memory;
            var tensors = (Native.Tensor*)(memory + first);
            for (var i = 0; i < inputs.Length; i++)
            {
                var input = inputs[i];
                var tensor = tensors + i;
                tensor->DType = (int)input.DType;
                tensor->Rank = (UIntPtr)input.Shape.Length;
                tensor->Shape = (long*)(memory + end);
                for (var axis = 0; axis < input.Shape.Length; axis++)
                    tensor->Shape[axis] = input.Shape[axis];
                end += Aligned(8 * input.Shape.Length);
                tensor->Data = memory + end;
                input.CopyTo(memory + end);
                end += Aligned(input.Bytes);
                tensor->Name = input.NameBytes == null ? null : memory + end;
                if (input.NameBytes == null) continue;
                Marshal.Copy(input.NameBytes, 0, (IntPtr)(memory + end), input.NameBytes.Length);
                end += Aligned(input.NameBytes.Length);
            }
            return tensors;
        }

        /// <summary>Copy an output of the core to the tensor of the call before, where it fits.
        /// </summary>
        private static Tensor Read(Tensor tensor, Native.Tensor* output)
        {
            if (tensor == null || tensor.DType != (DType)output->DType || !tensor.IsNamed(output->Name))
            {
                tensor = Tensor.Create(Native.Text(output->Name), (DType)output->DType);
                tensor.NameBytes = Native.Bytes(tensor.Name);
            }
            var rank = (int)output->Rank;
            if (tensor.Shape.Length != rank) tensor.Shape = new int[rank];
            var count = 1;
            for (var axis = 0; axis < rank; axis++)
                count = checked(count * (tensor.Shape[axis] = (int)output->Shape[axis]));
            tensor.IsDefined = output->Data != null;
            if (tensor.IsDefined) tensor.CopyFrom((byte*)output->Data, count);
            else tensor.Count = count;
            return tensor;
        }
    }
}
