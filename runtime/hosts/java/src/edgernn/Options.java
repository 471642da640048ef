package edgernn;

import java.nio.file.Path;

/** How a model is opened; as it is made, one thread on the CPU. */
public final class Options {
    String library;
    String provider;
    int threads;

    /**
     * Set the path of ONNX Runtime's shared library. Without it, that is $ONNXRUNTIME_LIBRARY, then
     * a library of the usual name beside edgernn's, then where the system's loader looks.
     */
    public Options library(Path library) {
        this.library = library.toString();
        return this;
    }

    /** Set the provider, as `cpu` or, with its options, `cuda:device_id=1,use_tf32=0`. */
    public Options provider(String provider) {
        this.provider = provider;
        return this;
    }

    /** Set how many threads run one call, from 1 to 1024. */
    public Options threads(int threads) {
        this.threads = threads;
        return this;
    }
}
