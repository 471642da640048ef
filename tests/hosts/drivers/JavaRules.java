package edgernn;

import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;

/**
 * What only the Java wrapper promises, one line of output for each rule.
 *
 * <p>The arguments are an artifact with an input of three features, one with a vocabulary, and an
 * empty folder. The class is in the package of the wrapper to see whether what is garbage is freed.
 */
public final class JavaRules {
    private static final int STEPS = 300;

    public static void main(String[] arguments) throws Exception {
        missingLibrary(arguments[2]);
        try (Model model = Model.open(Path.of(arguments[0]))) {
            wrongTensors(model);
            outputs(model);
            closing(model, Path.of(arguments[0], "step.onnx"));
            threads(model);
            garbage(model);
        }
        try (Model model = Model.open(Path.of(arguments[1]))) {
            text(model);
        }
    }

    private interface Action {
        void run() throws Exception;
    }

    private static void show(String rule, Object found) {
        System.out.println(rule + ": " + found);
    }

    private static void showError(String rule, Action action) throws Exception {
        try {
            action.run();
            show(rule, "no error");
        } catch (EdgernnException error) {
            show(rule, error.kind() + " " + error.getMessage());
        } catch (IllegalStateException error) {
            show(rule, error.getMessage());
        }
    }

    /** The first use says what is missing; it can be mended in the same process. */
    private static void missingLibrary(String folder) throws Exception {
        String binding = System.getProperty("edgernn.binding");
        System.setProperty("edgernn.library", folder + "/libedgernn.so");
        showError("no library", () -> Model.open(Path.of("model.edgernn")));
        System.clearProperty("edgernn.library");
        System.setProperty("edgernn.binding", "other");
        showError("no binding", () -> Model.open(Path.of("model.edgernn")));
        System.setProperty("edgernn.binding", binding);
        show("binding", Native.binding().getClass().getSimpleName());
    }

    private static void wrongTensors(Model model) throws Exception {
        showError("count", () -> Tensor.of(new float[5], 2, 3));
        showError("negative", () -> Tensor.of(DType.FLOAT32, -1));
        showError("huge", () -> Tensor.of(DType.FLOAT32, 1L << 40));
        showError("too many", () -> Tensor.of(DType.FLOAT32, 1L << 40, 1L << 40));
        showError("dtype", () -> Tensor.of(new long[1], 1).named("ids").floats());
        showError("heap", () -> Tensor.wrap(DType.FLOAT32, ByteBuffer.allocate(12), 3));
        ByteBuffer memory = ByteBuffer.allocateDirect(16).order(ByteOrder.nativeOrder());
        showError("size", () -> Tensor.wrap(DType.FLOAT32, memory, 3));
        memory.position(1).limit(13);
        showError("alignment", () -> Tensor.wrap(DType.FLOAT32, memory, 3));
        memory.position(4).limit(16);
        memory.putFloat(4, 0.5f);
        show("wrapped", Tensor.wrap(DType.FLOAT32, memory, 1, 3).floats().get(0));
        try (Stream stream = model.stream()) {
            showError("name", () -> stream.step(Tensor.of(new float[3], 1, 3).named("a\0b")));
            show("steps", stream.steps());
        }
    }

    /** Outputs are filled again, a copy is not, and both outlive their stream. */
    private static void outputs(Model model) {
        Tensor input = Tensor.of(new float[] {1, 2, 3}, 1, 3);
        Stream stream = model.stream();
        Tensor output = stream.step(input).get(0);
        Tensor copy = output.copy();
        show("output", output);
        show("filled again", output == stream.step(input).get(0));
        show("copy", !Arrays.equals(copy.toFloats(), output.toFloats()));
        String name = model.inputs(Graph.STEP).get(0).name();
        show("with a name", stream.step(input.named(name)).size());
        stream.close();
        show("after close", output.toFloats().length);
    }

    private static void closing(Model model, Path step) throws Exception {
        showError("batch", () -> model.stream(-1));
        Stream stream = model.stream();
        stream.close();
        stream.close();
        showError("closed stream", stream::reset);
        Model other = Model.openMemory(null, ByteBuffer.wrap(Files.readAllBytes(step)));
        Stream kept = other.stream();
        other.close();
        other.close();
        showError("closed model", other::stream);
        show("stream of a closed model", kept.step(Tensor.of(new float[3], 1, 3)).size());
        kept.close();
        for (int i = 0; i < 20; i++) { // a close in another thread waits for the call
            Stream raced = model.stream();
            Thread closer = new Thread(raced::close);
            Tensor input = Tensor.of(new float[3], 1, 3);
            closer.start();
            try {
                while (true) {
                    raced.step(input);
                }
            } catch (IllegalStateException closed) {
                closer.join();
            }
        }
        show("closed by another thread", "no crash");
    }

    /** Return the last output after some steps, while `disturb` runs between them. */
    private static float[] run(Model model, Action disturb) throws Exception {
        try (Stream stream = model.stream()) {
            Tensor output = null;
            for (int i = 0; i < STEPS; i++) {
                output = stream.step(Tensor.of(new float[] {i % 7, 1, -i % 5}, 1, 3)).get(0);
                disturb.run();
            }
            return output.toFloats();
        }
    }

    private static void threads(Model model) throws Exception {
        float[] expected = run(model, () -> {});
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<float[]>> found = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            found.add(pool.submit(() -> run(model, () -> {})));
        }
        boolean same = true;
        for (Future<float[]> one : found) {
            same &= Arrays.equals(one.get(), expected);
        }
        pool.shutdown();
        show("threads agree", same);
    }

    private static void garbage(Model model) throws Exception {
        float[] expected = run(model, () -> {});
        int[] calls = {0};
        float[] found = run(model, () -> {
            model.stream(); // never closed
            if (calls[0]++ % 100 == 0) {
                System.gc();
            }
        });
        show("same numbers under garbage collection", Arrays.equals(found, expected));

        AtomicLong freed = new AtomicLong();
        Native.release(new Object(), 7, freed::addAndGet);
        for (int i = 0; freed.get() == 0 && i < 500; i++) {
            System.gc();
            Thread.sleep(10);
        }
        show("freed", freed.get());

        com.sun.management.ThreadMXBean bean =
                (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (Stream stream = model.stream()) {
            Tensor input = Tensor.of(new float[] {1, 2, 3}, 1, 3);
            long bytes = Long.MAX_VALUE;
            for (int round = 0; bytes >= STEPS && round < 100; round++) { // until it is compiled
                long before = bean.getCurrentThreadAllocatedBytes();
                for (int i = 0; i < STEPS; i++) {
                    stream.step(input);
                }
                bytes = bean.getCurrentThreadAllocatedBytes() - before;
            }
            show("a step makes no object", bytes < STEPS);
        }
    }

    private static void text(Model model) throws Exception {
        showError("half a character", () -> model.encode("a\ud83d"));
        show("ids", Arrays.toString(model.encode("abé")));
        show("text", model.decode(model.encode("abé")).equals("abé"));
        show("symbol", model.symbol(0).orElseThrow() + " " + model.symbol(-1).isPresent());
    }
}
