import edgernn.DType;
import edgernn.Differences;
import edgernn.EdgernnException;
import edgernn.Model;
import edgernn.Options;
import edgernn.Stream;
import edgernn.Tensor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;

/** Runs the commands of tests/hosts/host_drivers.py on the Java wrapper, one a line. */
public final class Driver {
    private static final HexFormat HEX = HexFormat.of();

    private Model model;
    private Stream stream;

    public static void main(String[] arguments) throws IOException {
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Driver driver = new Driver();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String answer;
            try {
                answer = ("ok " + driver.answer(line.split(" "))).strip();
            } catch (EdgernnException error) {
                String kind = error.kind().name().toLowerCase(Locale.ROOT);
                answer = "error " + kind + " " + error.getMessage();
            }
            answers.print(answer + "\n");
            answers.flush();
        }
    }

    private String answer(String[] words) throws IOException {
        String word = words.length > 1 ? words[1] : "";
        String[] rest = Arrays.copyOfRange(words, 1, words.length);
        switch (words[0]) {
            case "open", "open_memory" -> open(words);
            case "stream" -> {
                closeStream();
                stream = model.stream(Long.parseLong(word));
            }
            case "close" -> close();
            case "reset" -> stream.reset();
            case "restore" -> stream.restore(HEX.parseHex(word));
            case "set_state" -> stream.setState(tensor(word));
            default -> {
                return value(words[0], word, rest);
            }
        }
        return "";
    }

    private String value(String command, String word, String[] rest) {
        return switch (command) {
            case "facts" -> String.format(
                    "hop=%d carries=%b vocabulary=%d provider=%s",
                    model.hop(), model.carries(), model.vocabularySize(), model.provider());
            case "metadata" -> model.metadata(word).orElse("");
            case "step" -> rest.length == 1 // as most programs call it
                    ? text(stream.step(tensor(word))) : text(stream.step(tensors(rest)));
            case "feed" -> text(stream.feed(tensors(rest)));
            case "finish" -> text(stream.finish(tensors(rest)));
            case "run" -> text(stream.run(tensors(rest)));
            case "counts" -> stream.steps() + " " + stream.rest();
            case "snapshot" -> HEX.formatHex(stream.snapshot());
            case "state" -> text(stream.state(word));
            case "encode" -> text(
                    model.encode(new String(HEX.parseHex(word), StandardCharsets.UTF_8)));
            case "decode" -> HEX.formatHex(
                    model.decode(Arrays.stream(rest).mapToLong(Long::parseLong).toArray())
                            .getBytes(StandardCharsets.UTF_8));
            case "check" -> text(model.check(Path.of(word)));
            default -> throw new IllegalArgumentException(command);
        };
    }

    private void open(String[] words) throws IOException {
        close();
        Path path = Path.of(words[1]);
        Options options = new Options();
        if (words.length > 2) {
            options.provider(words[2]);
        }
        model = words[0].equals("open") ? Model.open(path, options)
                : Model.openMemory(read(path, "sequence"), read(path, "step"), options);
    }

    private static ByteBuffer read(Path artifact, String graph) throws IOException {
        Path file = artifact.resolve(graph + ".onnx");
        return Files.exists(file) ? ByteBuffer.wrap(Files.readAllBytes(file)) : null;
    }

    private void closeStream() {
        if (stream != null) {
            stream.close();
            stream = null;
        }
    }

    private void close() {
        closeStream();
        if (model != null) {
            model.close();
            model = null;
        }
    }

    private static Tensor[] tensors(String[] words) {
        return Arrays.stream(words).map(Driver::tensor).toArray(Tensor[]::new);
    }

    /** Read a tensor from NAME:DTYPE:SHAPE:HEX. */
    private static Tensor tensor(String word) {
        String[] parts = word.split(":", -1);
        String sizes = parts[2];
        long[] shape = sizes.isEmpty() ? new long[0]
                : Arrays.stream(sizes.split(",")).mapToLong(Long::parseLong).toArray();
        Tensor tensor = Tensor.of(DType.valueOf(parts[1].toUpperCase(Locale.ROOT)), shape);
        tensor.data().duplicate().put(HEX.parseHex(parts[3]));
        return parts[0].isEmpty() ? tensor : tensor.named(parts[0]);
    }

    private static String text(List<Tensor> tensors) {
        List<String> words = new ArrayList<>();
        tensors.forEach(tensor -> words.add(text(tensor)));
        return String.join(" ", words);
    }

    private static String text(Tensor tensor) {
        String data = "-";
        if (tensor.isDefined()) {
            byte[] bytes = new byte[tensor.data().capacity()];
            tensor.data().duplicate().get(bytes);
            data = HEX.formatHex(bytes);
        }
        String sizes = Arrays.toString(tensor.shape()).replaceAll("[\\[\\] ]", "");
        return tensor.name() + ":" + tensor.dtype() + ":" + sizes + ":" + data;
    }

    private static String text(long[] ids) {
        return Arrays.toString(ids).replaceAll("[\\[\\],]", "");
    }

    private static String text(Differences found) {
        return text(found.whole()) + " " + text(found.chunks()) + " " + text(found.steps()) + " "
                + text(found.withoutState());
    }

    private static String text(double difference) {
        return Double.isNaN(difference) ? "nan" : String.format(Locale.ROOT, "%.9g", difference);
    }
}
