// Run commands from standard input over Edgernn.cs, one a line.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading.Tasks;
using Edgernn;

internal static class Driver
{
    private static Model model;
    private static ModelStream stream;

    private static int Main()
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        var utf8 = new UTF8Encoding(false);
        var input = new StreamReader(Console.OpenStandardInput(), utf8, false, 1 << 16);
        var output = new StreamWriter(Console.OpenStandardOutput(), utf8) { AutoFlush = true, NewLine = "\n" };
        string line;
        while ((line = input.ReadLine()) != null)
        {
            var words = line.Split(' ');
            try
            {
                output.WriteLine(("ok " + Run(words[0], words.Skip(1).ToArray())).TrimEnd(' '));
            }
            catch (EdgernnException error)
            {
                output.WriteLine($"error {error.Kind.ToString().ToLowerInvariant()} {error.Message}");
            }
            catch (ObjectDisposedException error)
            {
                output.WriteLine($"error input {error.Message.Replace("\n", " ")}");
            }
        }
        return 0;
    }

    private static string Run(string command, string[] words)
    {
        var rest = string.Join(" ", words);
        switch (command)
        {
            case "open":
                var provider = words.Length > 1 ? words[1] : null;
                model = Model.Open(words[0], new ModelOptions { Provider = provider });
                return "";
            case "open_memory":
                model = Model.OpenMemory(Bytes(rest, "sequence.onnx"), Bytes(rest, "step.onnx"));
                return "";
            case "facts":
                return $"hop={model.Hop} carries={(model.Carries ? "true" : "false")} " +
                    $"vocabulary={model.VocabularySize} provider={model.Provider}";
            case "metadata": return model.Metadata(rest) ?? "";
            case "encode": return string.Join(" ", model.Encode(Encoding.UTF8.GetString(FromHex(rest))));
            case "decode":
                return ToHex(Encoding.UTF8.GetBytes(model.Decode(words.Select(long.Parse).ToArray())));
            case "check":
                var found = model.Check(rest);
                return string.Join(" ", new[] { found.Whole, found.Chunks, found.Steps, found.WithoutState }
                    .Select(value => value.ToString("G9").ToLowerInvariant()));
            case "stream": stream = model.OpenStream(int.Parse(rest)); return "";
            case "step": return Text(stream.Step(Parse(words)));
            case "feed": return Text(stream.Feed(Parse(words)));
            case "finish": return Text(stream.Finish(Parse(words)));
            case "run": return Text(stream.Run(Parse(words)));
            case "reset": stream.Reset(); return "";
            case "counts": return $"{stream.Steps} {stream.Rest}";
            case "snapshot": return ToHex(stream.Snapshot());
            case "restore": stream.Restore(FromHex(rest)); return "";
            case "state": return Text(stream.State(rest));
            case "set_state": stream.SetState(Parse(words)[0]); return "";
            case "misread": Tensor.Of("y", new float[1], 1).Data<long>(); return "";
            case "threads": return RunThreads(words.Select(int.Parse).ToArray());
            case "abandon": Abandon(words.Select(int.Parse).ToArray()); return "";
            case "allocations": return CountAllocations(int.Parse(rest));
            case "close_model": model.Dispose(); return "";
            case "close":
                stream?.Dispose();
                model.Dispose();
                return "";
        }
        throw new ArgumentException($"there is no command `{command}`");
    }

    /// <summary>Step a stream in each thread while garbage is collected, and return their last
    /// outputs. Step i of thread k has inputs of k + i % 7.</summary>
    private static string RunThreads(int[] numbers)
    {
        var texts = new string[numbers[0]];
        Parallel.For(0, texts.Length, k =>
        {
            using (var own = model.OpenStream())
            {
                var x = new float[numbers[2]];
                var inputs = new Tensor[] { Tensor.Of(null, x, 1, x.Length) };
                for (var i = 0; i < numbers[1]; i++)
                {
                    for (var j = 0; j < x.Length; j++) x[j] = k + i % 7;
                    var output = own.Step(inputs)[0];
                    if (i % 100 == 0) GC.Collect();
                    texts[k] = Text(output);
                }
            }
        });
        return string.Join(" ", texts);
    }

    /// <summary>Open streams that nobody closes.</summary>
    private static void Abandon(int[] numbers)
    {
        for (var i = 0; i < numbers[0]; i++)
        {
            model.OpenStream(numbers[1]);
            if (i % 10 != 0) continue;
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    /// <summary>Return how often garbage was collected in 100,000 steps.</summary>
    private static string CountAllocations(int size)
    {
        var inputs = new Tensor[] { Tensor.Of(null, new float[size], 1, size) };
        stream.Step(inputs);
        var before = GC.CollectionCount(0);
        for (var i = 0; i < 100000; i++) stream.Step(inputs);
        return (GC.CollectionCount(0) - before).ToString();
    }

    private static byte[] Bytes(string folder, string name)
    {
        var path = Path.Combine(folder, name);
        return File.Exists(path) ? File.ReadAllBytes(path) : null;
    }

    private static byte[] FromHex(string text)
    {
        var bytes = new byte[text.Length / 2];
        for (var i = 0; i < bytes.Length; i++) bytes[i] = Convert.ToByte(text.Substring(2 * i, 2), 16);
        return bytes;
    }

    private static string ToHex(byte[] bytes)
    {
        return BitConverter.ToString(bytes).Replace("-", "").ToLowerInvariant();
    }

    private static Tensor[] Parse(string[] words)
    {
        return words.Where(word => word != "").Select(word =>
        {
            var parts = word.Split(':');
            var shape = parts[2].Split(new[] { ',' }, StringSplitOptions.RemoveEmptyEntries)
                .Select(int.Parse).ToArray();
            return Makers[parts[1]](parts[0] == "" ? null : parts[0], FromHex(parts[3]), shape);
        }).ToArray();
    }

    private static readonly Dictionary<string, Func<string, byte[], int[], Tensor>> Makers =
        new Dictionary<string, Func<string, byte[], int[], Tensor>>
        {
            ["float32"] = Make<float>, ["float64"] = Make<double>, ["float16"] = Make<Float16>,
            ["int8"] = Make<sbyte>, ["int16"] = Make<short>, ["int32"] = Make<int>,
            ["int64"] = Make<long>, ["uint8"] = Make<byte>, ["uint16"] = Make<ushort>,
            ["uint32"] = Make<uint>, ["uint64"] = Make<ulong>, ["bool"] = Make<bool>
        };

    private static Tensor Make<T>(string name, byte[] bytes, int[] shape) where T : struct
    {
        return Tensor.Of(name, MemoryMarshal.Cast<byte, T>(new Span<byte>(bytes)).ToArray(), shape);
    }

    private static byte[] Elements(Tensor tensor)
    {
        switch (tensor.DType)
        {
            case DType.Float32: return MemoryMarshal.AsBytes(tensor.Data<float>()).ToArray();
            case DType.Float64: return MemoryMarshal.AsBytes(tensor.Data<double>()).ToArray();
            case DType.Float16: return MemoryMarshal.AsBytes(tensor.Data<Float16>()).ToArray();
            case DType.Int8: return MemoryMarshal.AsBytes(tensor.Data<sbyte>()).ToArray();
            case DType.Int16: return MemoryMarshal.AsBytes(tensor.Data<short>()).ToArray();
            case DType.Int32: return MemoryMarshal.AsBytes(tensor.Data<int>()).ToArray();
            case DType.Int64: return MemoryMarshal.AsBytes(tensor.Data<long>()).ToArray();
            case DType.UInt8: return tensor.Data<byte>().ToArray();
            case DType.UInt16: return MemoryMarshal.AsBytes(tensor.Data<ushort>()).ToArray();
            case DType.UInt32: return MemoryMarshal.AsBytes(tensor.Data<uint>()).ToArray();
            case DType.UInt64: return MemoryMarshal.AsBytes(tensor.Data<ulong>()).ToArray();
            default: return MemoryMarshal.AsBytes(tensor.Data<bool>()).ToArray();
        }
    }

    private static string Text(params Tensor[] tensors)
    {
        return string.Join(" ", tensors.Select(tensor =>
            $"{tensor.Name}:{tensor.DType.ToString().ToLowerInvariant()}:{string.Join(",", tensor.Shape)}:" +
            (tensor.IsDefined ? ToHex(Elements(tensor)) : "-")));
    }
}
