import edgernn.DType;
import edgernn.Differences;
import edgernn.EdgernnException;
import edgernn.Graph;
import edgernn.Model;
import edgernn.Port;
import edgernn.Stream;
import edgernn.Tensor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Runs the artifact model.edgernn, beside the folder of the jar.
 *
 * <p>Without arguments, it replays the golden run, and prints the differences and the time of a
 * step; the exit status is 1 where a difference is too large. With `step`, it answers each line of
 * numbers, one step of each data input, with a line of the outputs; an empty line starts a new
 * sequence.
 */
public final class App {
    private static final double TOLERANCE = 1e-5; // edgernn embed: tolerance

    public static void main(String[] arguments) throws IOException, URISyntaxException {
        System.setOut(new PrintStream(System.out, true, StandardCharsets.UTF_8)); // has a µ
        boolean step = arguments.length == 1 && arguments[0].equals("step");
        if (arguments.length > 0 && !step) {
            exit("usage: java -jar lib/app.jar [step]");
        }
        Path jar = Path.of(App.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        Path artifact = jar.getParent().resolveSibling("model.edgernn");
        try (Model model = Model.open(artifact); Stream stream = model.stream(batchOf(model))) {
            if (step) {
                answerLines(stream, inputsOf(model));
            } else if (!check(model, stream)) {
                System.exit(1);
            }
        } catch (EdgernnException error) {
            exit(error.getMessage());
        }
    }

    private static void exit(String message) {
        System.err.println("app: " + message);
        System.exit(2);
    }

    /** Print how far the golden run is from the recorded one; return whether that is close. */
    private static boolean check(Model model, Stream stream) {
        Differences found = model.check();
        double carried = Double.isNaN(found.steps()) ? found.chunks() : found.steps();
        boolean agrees = print("whole", found.whole(), TOLERANCE, true)
                & print("by chunks", found.chunks(), TOLERANCE, true)
                & print("by steps", found.steps(), TOLERANCE, true)
                & print("without state", found.withoutState(), carried, false);
        System.out.printf(
                Locale.ROOT, "The model %s its golden run; the tolerance is %.0e.%n",
                agrees ? "reproduces" : "DIFFERS from", TOLERANCE);
        if (!Double.isNaN(found.steps())) {
            Tensor[] inputs = inputsOf(model);
            timeStep(stream, inputs, 0.3); // until it is compiled
            double time = timeStep(stream, inputs, 0.3);
            System.out.printf(Locale.ROOT, "time           %.1f µs per step%n", time);
        }
        return agrees;
    }

    /** Print one difference; return whether it is as it must be. NaN does not apply. */
    private static boolean print(
            String way, double difference, double limit, boolean mustAgree) {
        if (Double.isNaN(difference)) {
            return true;
        }
        boolean right = (difference <= limit) == mustAgree;
        System.out.printf(
                Locale.ROOT, "%-14s max difference %.1e%s%n", way, difference, right ? "" : ", WRONG");
        return right;
    }

    /** Return the mean time of a step in µs. */
    private static double timeStep(Stream stream, Tensor[] inputs, double seconds) {
        long start = System.nanoTime();
        long end = start;
        int steps = 0;
        while (end - start < seconds * 1e9) {
            stream.reset();
            for (int i = 0; i < 16; i++) {
                stream.step(inputs);
            }
            steps += 16;
            end = System.nanoTime();
        }
        return (end - start) / 1e3 / steps;
    }

    /** Return a tensor of zeros for one step of each data input. */
    private static Tensor[] inputsOf(Model model) {
        Graph graph = model.hasGraph(Graph.STEP) ? Graph.STEP : Graph.SEQUENCE;
        return model.inputs(graph).stream()
                .filter(port -> !port.isState() && !port.isLengths())
                .map(port -> Tensor.of(port.dtype(), shapeOf(port)).named(port.name()))
                .toArray(Tensor[]::new);
    }

    /** Return how many sequences a step has: those of a constant batch, otherwise 1. */
    private static long batchOf(Model model) {
        Graph graph = model.hasGraph(Graph.STEP) ? Graph.STEP : Graph.SEQUENCE;
        return model.inputs(graph).stream()
                .filter(port -> port.axes().contains("batch"))
                .mapToLong(port -> Math.max(port.shape().get(port.axes().indexOf("batch")), 1))
                .findFirst()
                .orElse(1);
    }

    private static long[] shapeOf(Port port) {
        return java.util.stream.IntStream.range(0, port.shape().size())
                .filter(axis -> !port.axes().get(axis).equals("sequence"))
                .mapToLong(axis -> Math.max(port.shape().get(axis), 1)) // -1 where it varies
                .toArray();
    }

    private static void answerLines(Stream stream, Tensor[] inputs) throws IOException {
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        int number = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            number++;
            if (line.isBlank()) {
                stream.reset();
                System.out.println();
                continue;
            }
            try {
                read(line, inputs);
                System.out.println(text(stream.step(inputs)));
            } catch (IllegalArgumentException | EdgernnException error) {
                exit("line " + number + ": " + error.getMessage());
            }
        }
    }

    /** Read the numbers of a line into the inputs, one after another. */
    private static void read(String line, Tensor[] inputs) {
        String[] words = line.strip().split("\\s*[,\\s]\\s*", -1);
        int next = 0;
        for (Tensor input : inputs) {
            ByteBuffer data = input.data();
            for (data.clear(); data.hasRemaining() && next < words.length; next++) {
                put(data, input.dtype(), words[next]);
            }
            if (data.hasRemaining()) {
                throw new IllegalArgumentException(
                        "there are " + words.length + " numbers, too few for " + input);
            }
        }
        if (next < words.length) {
            throw new IllegalArgumentException(
                    "there are " + words.length + " numbers, but a step takes " + next);
        }
    }

    private static void put(ByteBuffer data, DType dtype, String word) {
        try {
            switch (dtype) {
                case FLOAT32 -> data.putFloat((float) finite(Float.parseFloat(word)));
                case FLOAT64 -> data.putDouble(finite(Double.parseDouble(word)));
                case INT64 -> data.putLong(Long.parseLong(word));
                case INT32 -> data.putInt(Integer.parseInt(word));
                case BOOL -> data.put(Byte.parseByte(word));
                default -> throw new IllegalArgumentException("this program reads no " + dtype);
            }
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException("`" + word + "` is not a finite " + dtype, error);
        }
    }

    private static double finite(double number) {
        if (!Double.isFinite(number)) {
            throw new NumberFormatException();
        }
        return number;
    }

    /** Return the elements of the outputs with commas; empty where they are not defined. */
    private static String text(List<Tensor> outputs) {
        StringBuilder line = new StringBuilder();
        String separator = "";
        for (Tensor output : outputs) {
            long count = 1;
            for (long size : output.shape()) {
                count *= size;
            }
            for (int place = 0; place < count; place++) {
                line.append(separator);
                separator = ",";
                if (output.isDefined()) {
                    line.append(element(output.data(), output.dtype(), place));
                }
            }
        }
        return line.toString();
    }

    private static Object element(ByteBuffer data, DType dtype, int place) {
        int at = place * dtype.width();
        return switch (dtype) {
            case FLOAT32 -> (Object) data.getFloat(at);
            case FLOAT64 -> data.getDouble(at);
            case INT64 -> data.getLong(at);
            case INT32 -> data.getInt(at);
            case BOOL -> data.get(at);
            default -> throw new IllegalArgumentException("this program writes no " + dtype);
        };
    }
}
