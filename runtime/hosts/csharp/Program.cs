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
        var agrees = IsRight("whole", found.Whole, true);
        agrees &= IsRight("by chunks", found.Chunks, true);
        agrees &= IsRight("by steps", found.Steps, true);
        agrees &= IsRight("without state", found.WithoutState, false);
        var verdict = agrees ? "reproduces" : "DIFFERS from";
        Console.WriteLine($"The model {verdict} its golden run; the tolerance is {Tolerance:0e+00}.");
        if (model.HasGraph(Graph.Step))
            Console.WriteLine($"{"time",-14} {Microseconds(model):F1} µs per step");
        return agrees;
    }

    /// <summary>Print a difference, and return whether it is as it must be. NaN is that of a way in
    /// which the model cannot be run.</summary>
    private static bool IsRight(string way, double difference, bool mustAgree)
    {
        if (double.IsNaN(difference)) return true;
        var right = difference <= Tolerance == mustAgree;
        Console.WriteLine($"{way,-14} max difference {difference:0.0e+00}{(right ? "" : ", WRONG")}");
        return right;
    }

    /// <summary>Return how long a step takes.</summary>
    private static double Microseconds(Model model)
    {
        const int steps = 2000;
        using (var stream = Open(model, out var inputs))
        {
            var watch = new Stopwatch();
            for (var i = 0; i < 2 * steps; i++)
            {
                if (i == steps) watch.Start();
                if (i % 100 == 0) stream.Reset(); // a table of positions may end
                stream.Step(inputs);
            }
            return watch.Elapsed.TotalMilliseconds * 1000 / steps;
        }
    }

    /// <summary>Return a stream and the inputs of a step: zeros, which Answer overwrites.</summary>
    private static ModelStream Open(Model model, out Tensor[] inputs)
    {
        var batch = 1;
        var tensors = new List<Tensor>();
        foreach (var port in model.Inputs(Graph.Step).Where(port => !port.IsState && !port.IsLengths))
        {
            var place = Array.IndexOf(port.Axes, "batch");
            if (place >= 0 && port.Shape[place] > 0) batch = (int)port.Shape[place];
            tensors.Add(Zeros(port, port.Shape.Select(size => size < 0 ? 1 : (int)size).ToArray()));
        }
        inputs = tensors.ToArray();
        return model.OpenStream(batch);
    }

    private static Tensor Zeros(Port port, int[] shape)
    {
        var count = shape.Aggregate(1, (product, size) => product * size);
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
        using (var stream = Open(model, out var inputs))
        {
            string line;
            for (var number = 1; (line = Console.ReadLine()) != null; number++)
            {
                var words = line.Split(new[] { ' ', ',', '\t' }, StringSplitOptions.RemoveEmptyEntries);
                var answer = Enumerable.Empty<string>();
                if (words.Length == 0)
                {
                    stream.Reset();
                }
                else
                {
                    try
                    {
                        Parse(words, inputs);
                        answer = stream.Step(inputs).SelectMany(Texts);
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

    /// <summary>Return the numbers of an output, empty where it is not defined yet.</summary>
    private static IEnumerable<string> Texts(Tensor output)
    {
        if (!output.IsDefined) return Enumerable.Repeat("", output.Count);
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
