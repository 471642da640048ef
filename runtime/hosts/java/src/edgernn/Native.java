package edgernn;

import java.io.File;
import java.lang.ref.Cleaner;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.CodeSource;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.LongConsumer;

/** The native library, the binding to it, and what both directions need of its memory. */
final class Native {
    /** The sizes of structures of edgernn.h in bytes; their offsets are where they are read. */
    static final int TENSOR_SIZE = 40, PORT_SIZE = 72, OPTIONS_SIZE = 32, ERROR_SIZE = 1024;

    private static final int MOST = Integer.MAX_VALUE - 8; // the bytes of one buffer

    private static Binding binding;

    private Native() {}

    /** Return the binding; the first call loads the native library. */
    static synchronized Binding binding() {
        if (binding == null) {
            binding = load();
        }
        return binding;
    }

    private static Binding load() {
        String name = System.mapLibraryName("edgernn");
        String given = System.getProperty("edgernn.library");
        File beside = given != null ? new File(given) : new File(folder(), name);
        try {
            if (given != null || beside.isFile()) {
                System.load(beside.getAbsolutePath());
            } else {
                System.loadLibrary("edgernn");
            }
            Binding found = choose(System.getProperty("edgernn.binding"));
            found.address(ByteBuffer.allocateDirect(1)); // fails where JNI's functions are missing
            return found;
        } catch (UnsatisfiedLinkError error) {
            throw new EdgernnException(
                    EdgernnException.Kind.PROVIDER,
                    "The native library `" + beside + "` cannot be used: " + error.getMessage()
                            + ". Build it from edgernn.c and edgernn_jni.c, and give its path with"
                            + " -Dedgernn.library=PATH.",
                    error);
        }
    }

    /** Return the folder of the jar or of the classes, or null as on Android. */
    private static File folder() {
        try {
            CodeSource source = Native.class.getProtectionDomain().getCodeSource();
            File classes = new File(source.getLocation().toURI());
            return classes.isDirectory() ? classes : classes.getParentFile();
        } catch (Exception error) {
            return null;
        }
    }

    /** Return the binding of a name: `jni` or `foreign`; for null, foreign where that runs. */
    private static Binding choose(String name) {
        Binding foreign = name == null || name.equals("foreign") ? foreign() : null;
        if (foreign != null) {
            return foreign;
        }
        if (name == null || name.equals("jni")) {
            return new JniBinding();
        }
        throw new EdgernnException(
                EdgernnException.Kind.PROVIDER,
                "The binding `" + name + "` cannot be used, expected `jni`, or `foreign` with Java "
                        + "22 or later and ForeignBinding.class. Leave out -Dedgernn.binding="
                        + name + ".");
    }

    /** Return the binding with foreign functions; null where this Java or the jar has none. */
    private static Binding foreign() {
        try {
            Class<?> foreign = Class.forName("edgernn.ForeignBinding");
            return (Binding) foreign.getDeclaredConstructor().newInstance();
        } catch (ReflectiveOperationException | UnsupportedClassVersionError error) {
            return null;
        }
    }

    /** Return new memory of zeros in the machine's byte order, aligned for every type. */
    static ByteBuffer allocate(long size) {
        if (size > MOST) {
            throw new EdgernnException(
                    EdgernnException.Kind.MEMORY,
                    "An array of " + size + " bytes is longer than Java's buffers, which have at "
                            + "most " + MOST + ". Run shorter chunks.");
        }
        try {
            return ByteBuffer.allocateDirect((int) size).order(ByteOrder.nativeOrder());
        } catch (OutOfMemoryError error) {
            throw new EdgernnException(
                    EdgernnException.Kind.MEMORY,
                    "There is no memory for an array of " + size + " bytes. Run shorter chunks, or "
                            + "give Java more with -XX:MaxDirectMemorySize.",
                    error);
        }
    }

    /** Return the first bytes of a buffer, as a buffer of its own. */
    static ByteBuffer part(ByteBuffer memory, int size) {
        ByteBuffer first = memory.duplicate();
        first.clear().limit(size);
        return first.slice().order(ByteOrder.nativeOrder());
    }

    /** Return memory of the core as a buffer in the machine's byte order. */
    static ByteBuffer view(long address, long size) {
        if (size > MOST) {
            return allocate(size); // refuses it
        }
        return binding().view(address, size).order(ByteOrder.nativeOrder());
    }

    /** Return text in UTF-8 in new memory, with a NUL at its end. */
    static ByteBuffer text(String text) {
        ByteBuffer bytes;
        try {
            bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
        } catch (CharacterCodingException error) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "The text has half of a surrogate pair, but a text is complete characters. "
                            + "Cut it between characters.",
                    error);
        }
        ByteBuffer memory = allocate(bytes.remaining() + 1);
        memory.put(bytes).put((byte) 0).flip();
        return memory;
    }

    /** Return a name for C, which ends at its first NUL, in new memory; null for null. */
    static ByteBuffer name(String name) {
        if (name != null && name.indexOf(0) >= 0) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "`" + name.replace("\0", "\\0") + "` has a NUL, but a name has none. Leave it "
                            + "out.");
        }
        return name == null ? null : text(name);
    }

    static long address(ByteBuffer memory) {
        return memory == null ? 0 : binding().address(memory);
    }

    /** Return text of the core that ends with a NUL; null for NULL. */
    static String string(long address) {
        if (address == 0) {
            return null;
        }
        ByteBuffer text = view(address, MOST);
        int size = 0;
        while (text.get(size) != 0) {
            size++;
        }
        text.limit(size);
        return StandardCharsets.UTF_8.decode(text).toString();
    }

    /** Throw what a call failed for; do nothing where it succeeded. */
    static void check(int status, ByteBuffer error) {
        if (status != 0) {
            String message = string(address(error));
            throw new EdgernnException(EdgernnException.Kind.values()[status - 1], message);
        }
    }

    /** Return what frees memory of the core, once: when it is run, or when `owner` is garbage. */
    static Runnable release(Object owner, long address, LongConsumer free) {
        try {
            return Cleaners.CLEANER.register(owner, () -> free.accept(address))::clean;
        } catch (NoClassDefFoundError error) { // Android before 13 has no Cleaner
            AtomicBoolean freed = new AtomicBoolean();
            return () -> {
                if (freed.compareAndSet(false, true)) {
                    free.accept(address);
                }
            };
        }
    }

    private static final class Cleaners {
        static final Cleaner CLEANER = Cleaner.create();
    }
}
