// Run model.edgernn.
//
//     app         replay the golden run, and measure a step
//     app step    answer each line of standard input, which has the numbers of a step

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using Edgernn;

internal static class Program
{
    // The largest difference from the golden run that passes.
    private const double Tolerance = 1e-5; // edgernn embed: tolerance

    private static int Main(string[] arguments)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        Console.OutputEncoding = new UTF8Encoding(false);
        var folder = FindProject();
        try
        {
            var options = new ModelOptions { Library = Library(folder) };
            using (var model = Model.Open(Path.Combine(folder, "model.edgernn"), options))
            {
                if (arguments.Length == 0) return Check(model) ? 0 : 1;
                if (arguments.Length == 1 && arguments[0] == "step") return Answer(model);
            }
            Console.Error.WriteLine("usage: app [step]");
        }
        catch (EdgernnException error)
        {
            Console.Error.WriteLine($"app: {error.Message}");
        }
        return 2;
    }

    /// <summary>Return the folder above this program that holds the model, or the program's own.
    /// </summary>
    private static string FindProject()
    {
        var program = AppDomain.CurrentDomain.BaseDirectory;
        for (var folder = new DirectoryInfo(program); folder != null; folder = folder.Parent)
            if (Directory.Exists(Path.Combine(folder.FullName, "model.edgernn"))) return folder.FullName;
        return program;
    }

    /// <summary>Return the path of ONNX Runtime in the folder, null where $ONNXRUNTIME_LIBRARY or the
    /// system has it.</summary>
    private static string Library(string folder)
    {
        if (!string.IsNullOrEmpty(Environment.GetEnvironmentVariable("ONNXRUNTIME_LIBRARY"))) return null;
        return new[] { "libonnxruntime.so", "libonnxruntime.dylib", "onnxruntime.dll" }
            .Select(name => Path.Combine(folder, "lib", name)).FirstOrDefault(File.Exists);
    }

    /// <summary>Replay the golden run and return whether the model gives it.</summary>
    private static bool Check(Model model)
    {
        var found = model.Check();
        var agrees = IsRight("whole", found.Whole, Tolerance, true);
        agrees &= IsRight("by chunks", found.Chunks, Tolerance, true);
        agrees &= IsRight("by steps", found.Steps, Tolerance, true);
        agrees &= IsRight("without state", found.WithoutState, double.IsNaN(found.Steps) ? found.Chunks : found.Steps, false);
        var verdict = agrees ? "reproduces" : "DIFFERS from";
        Console.WriteLine($"The model {verdict} its golden run; the tolerance is {Tolerance:0e+00}.");
        if (model.HasGraph(Graph.Step) && ReadsInputs(model))
            Console.WriteLine($"{"time",-14} {Microseconds(model):F1} µs per step");
        return agrees;
    }

    /// <summary>Print a difference, and return whether it is as it must be. NaN is that of a way in
    /// which the model cannot be run.</summary>
    private static bool IsRight(string way, double difference, double limit, bool mustAgree)
    {
        if (double.IsNaN(difference)) return true;
        var right = difference <= limit == mustAgree;
        Console.WriteLine($"{way,-14} max difference {difference:0.0e+00}{(right ? "" : ", WRONG")}");
        return right;
    }

    /// <summary>Return whether Zeros and Answer know the types of all inputs of a step.</summary>
    private static bool ReadsInputs(Model model)
    {
        var known = new[] { DType.Float32, DType.Float64, DType.Int32, DType.Int64, DType.Bool };
        return model.Inputs(Graph.Step).All(port => port.IsState || port.IsLengths || known.Contains(port.DType));
    }

    /// <summary>Return how long a step takes: the median of blocks of steps of zeros.</summary>
    private static double Microseconds(Model model)
    {
        var times = new double[101];
        using (var step = new Step(model))
        {
            for (var block = 0; block < times.Length; block++)
            {
                step.Stream.Reset();
                var watch = Stopwatch.StartNew();
                for (var i = 0; i < step.Most; i++) step.Stream.Step(step.Inputs);
                times[block] = watch.Elapsed.TotalMilliseconds * 1000 / step.Most;
            }
        }
        Array.Sort(times);
        return times[times.Length / 2];
    }

    /// <summary>A stream, the inputs of a step, which Answer overwrites, the number of elements of
    /// each output, and the most steps of a sequence, at most 20.</summary>
    private sealed class Step : IDisposable
    {
        public readonly ModelStream Stream;
        public readonly Tensor[] Inputs;
        public readonly int[] Counts;
        public readonly long Most;

        public Step(Model model)
        {
            var ports = model.Inputs(Graph.Step).Where(port => !port.IsState && !port.IsLengths).ToArray();
            var batch = 1;
            foreach (var port in ports)
            {
                var axis = Array.IndexOf(port.Axes, "batch");
                if (axis >= 0 && port.Shape[axis] > 0) batch = (int)port.Shape[axis];
            }
            Inputs = ports.Select(port => Zeros(port, Sizes(port))).ToArray();
            Counts = model.Outputs(Graph.Step).Where(port => !port.IsState)
                .Select(port => Elements(Sizes(port))).ToArray();
            Most = model.Inputs(Graph.Step).Where(port => port.IsState && port.Limit > 0)
                .Select(port => port.Limit).Append(20).Min(); // where a table of positions ends
            Stream = model.OpenStream(batch);
        }

        public void Dispose() => Stream.Dispose();
    }

    /// <summary>Return the shape of a port, with 1 for the sizes that vary.</summary>
    private static int[] Sizes(Port port) => port.Shape.Select(size => size < 0 ? 1 : (int)size).ToArray();

    private static int Elements(int[] shape) => shape.Aggregate(1, (product, size) => product * size);

    private static Tensor Zeros(Port port, int[] shape)
    {
        var count = Elements(shape);
        switch (port.DType)
        {
            case DType.Float32: return Tensor.Of(port.Name, new float[count], shape);
            case DType.Float64: return Tensor.Of(port.Name, new double[count], shape);
            case DType.Int32: return Tensor.Of(port.Name, new int[count], shape);
            case DType.Int64: return Tensor.Of(port.Name, new long[count], shape);
            case DType.Bool: return Tensor.Of(port.Name, new bool[count], shape);
        }
        throw Unread(port.Name, port.DType);
    }

    private static EdgernnException Unread(string name, DType dtype)
    {
        return new EdgernnException(ErrorKind.Input,
            $"`{name}` has elements of {dtype}, which this program does not read or print.");
    }

    /// <summary>Read the numbers of a step from each line, separated by commas or white space, and
    /// answer with those of the outputs. An empty line starts a new sequence.</summary>
    private static int Answer(Model model)
    {
        if (!model.HasGraph(Graph.Step))
            throw new EdgernnException(ErrorKind.Input,
                "The model has no step. Run whole sequences with ModelStream.Run.");
        using (var step = new Step(model))
        {
            string line;
            for (var number = 1; (line = Console.ReadLine()) != null; number++)
            {
                var words = line.Split(new[] { ' ', ',', '\t', '\r' }, StringSplitOptions.RemoveEmptyEntries);
                var answer = Enumerable.Empty<string>();
                if (words.Length == 0)
                {
                    step.Stream.Reset();
                }
                else
                {
                    try
                    {
                        Parse(words, step.Inputs);
                        answer = step.Stream.Step(step.Inputs).Zip(step.Counts, Texts).SelectMany(x => x);
                    }
                    catch (EdgernnException error)
                    {
                        throw new EdgernnException(error.Kind, $"line {number}: {error.Message}");
                    }
                }
                Console.WriteLine(string.Join(",", answer));
            }
        }
        return 0;
    }

    /// <summary>Write the numbers of a line into the inputs.</summary>
    private static void Parse(string[] words, Tensor[] inputs)
    {
        var total = inputs.Sum(input => input.Count);
        if (total != words.Length)
            throw new EdgernnException(ErrorKind.Input,
                $"{words.Length} numbers came, but a step takes {total}");
        var at = 0;
        foreach (var input in inputs)
            for (var i = 0; i < input.Count; i++, at++)
                if (!Write(words[at], input, i))
                    throw new EdgernnException(ErrorKind.Input,
                        $"`{words[at]}` is not {input.DType}, as `{input.Name}` takes");
    }

    private static bool Write(string word, Tensor input, int place)
    {
        switch (input.DType)
        {
            case DType.Float32: return float.TryParse(word, out input.Data<float>()[place]);
            case DType.Float64: return double.TryParse(word, out input.Data<double>()[place]);
            case DType.Int32: return int.TryParse(word, out input.Data<int>()[place]);
            case DType.Int64: return long.TryParse(word, out input.Data<long>()[place]);
        }
        var flags = input.Data<bool>();
        flags[place] = word == "1";
        return word == "0" || word == "1";
    }

    /// <summary>Return the numbers of an output, empty where they are not defined yet.</summary>
    private static IEnumerable<string> Texts(Tensor output, int count)
    {
        var numbers = Numbers(output).ToArray();
        return Enumerable.Repeat("", count - numbers.Length).Concat(numbers);
    }

    private static IEnumerable<string> Numbers(Tensor output)
    {
        switch (output.DType)
        {
            case DType.Float32: return output.Data<float>().ToArray().Select(x => x.ToString("G9"));
            case DType.Float64: return output.Data<double>().ToArray().Select(x => x.ToString("G17"));
            case DType.Int32: return output.Data<int>().ToArray().Select(x => x.ToString());
            case DType.Int64: return output.Data<long>().ToArray().Select(x => x.ToString());
            case DType.Bool: return output.Data<bool>().ToArray().Select(x => x ? "1" : "0");
        }
        throw Unread(output.Name, output.DType);
    }
}
