/* The C interface of edgernn for Java through JNI: the native methods of edgernn.JniBinding.
 *
 * Each of them passes its arguments on, pointers as jlong. Structures are read and written in Java
 * (Native.java) by the offsets that are asserted here. */
#include <jni.h>
#include <stddef.h>
#include <stdint.h>

#include "edgernn.h"

_Static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8, "the Java wrapper needs 64 bits");
_Static_assert(sizeof(edgernn_tensor) == 40 && offsetof(edgernn_tensor, dtype) == 8 &&
               offsetof(edgernn_tensor, rank) == 16 && offsetof(edgernn_tensor, shape) == 24 &&
               offsetof(edgernn_tensor, data) == 32, "Native.java has other offsets of a tensor");
_Static_assert(sizeof(edgernn_port) == 72 && offsetof(edgernn_port, dtype) == 8 &&
               offsetof(edgernn_port, rank) == 16 && offsetof(edgernn_port, shape) == 24 &&
               offsetof(edgernn_port, axes) == 32 && offsetof(edgernn_port, limit) == 40 &&
               offsetof(edgernn_port, delay) == 48 && offsetof(edgernn_port, tail) == 56 &&
               offsetof(edgernn_port, is_state) == 64 && offsetof(edgernn_port, is_lengths) == 65,
               "Native.java has other offsets of a port");
_Static_assert(sizeof(edgernn_options) == 32 && offsetof(edgernn_options, api_base) == 8 &&
               offsetof(edgernn_options, provider) == 16 &&
               offsetof(edgernn_options, threads) == 24,
               "Native.java has other offsets of the options");
_Static_assert(sizeof(edgernn_differences) == 32 && offsetof(edgernn_differences, chunks) == 8 &&
               offsetof(edgernn_differences, steps) == 16 &&
               offsetof(edgernn_differences, without_state) == 24,
               "Native.java has other offsets of the differences");

#define NATIVE(type, name, ...) \
    JNIEXPORT type JNICALL Java_edgernn_JniBinding_##name(JNIEnv *env, jobject self, __VA_ARGS__)
#define UNUSED ((void)env, (void)self)
#define POINTER(type, address) ((type *)(intptr_t)(address))
#define ADDRESS(pointer) ((jlong)(intptr_t)(pointer))
#define MODEL(address) POINTER(edgernn_model, address)
#define STREAM(address) POINTER(edgernn_stream, address)
#define ERROR(address) POINTER(edgernn_error, address)

NATIVE(jlong, address, jobject memory) {
    (void)self;
    return ADDRESS((*env)->GetDirectBufferAddress(env, memory));
}

NATIVE(jobject, view, jlong address, jlong size) {
    (void)self;
    return (*env)->NewDirectByteBuffer(env, POINTER(void, address), size);
}

/* ---- Models ---------------------------------------------------------------------------------- */

NATIVE(jint, open, jlong path, jlong options, jlong model, jlong error) {
    UNUSED;
    return (jint)edgernn_open(POINTER(const char, path), POINTER(const edgernn_options, options),
                              POINTER(edgernn_model *, model), ERROR(error));
}

NATIVE(jint, openMemory, jlong sequence, jlong sequence_size, jlong step, jlong step_size,
       jlong options, jlong model, jlong error) {
    UNUSED;
    return (jint)edgernn_open_memory(POINTER(const void, sequence), (size_t)sequence_size,
                                     POINTER(const void, step), (size_t)step_size,
                                     POINTER(const edgernn_options, options),
                                     POINTER(edgernn_model *, model), ERROR(error));
}

NATIVE(void, close, jlong model) {
    UNUSED;
    edgernn_close(MODEL(model));
}

NATIVE(jboolean, hasGraph, jlong model, jint graph) {
    UNUSED;
    return edgernn_has_graph(MODEL(model), (edgernn_graph)graph);
}

NATIVE(jlong, inputCount, jlong model, jint graph) {
    UNUSED;
    return (jlong)edgernn_input_count(MODEL(model), (edgernn_graph)graph);
}

NATIVE(jlong, outputCount, jlong model, jint graph) {
    UNUSED;
    return (jlong)edgernn_output_count(MODEL(model), (edgernn_graph)graph);
}

NATIVE(jlong, input, jlong model, jint graph, jlong place) {
    UNUSED;
    return ADDRESS(edgernn_input(MODEL(model), (edgernn_graph)graph, (size_t)place));
}

NATIVE(jlong, output, jlong model, jint graph, jlong place) {
    UNUSED;
    return ADDRESS(edgernn_output(MODEL(model), (edgernn_graph)graph, (size_t)place));
}

NATIVE(jlong, metadata, jlong model, jlong key) {
    UNUSED;
    return ADDRESS(edgernn_metadata(MODEL(model), POINTER(const char, key)));
}

NATIVE(jlong, hop, jlong model) {
    UNUSED;
    return (jlong)edgernn_hop(MODEL(model));
}

NATIVE(jboolean, carries, jlong model) {
    UNUSED;
    return edgernn_carries(MODEL(model));
}

NATIVE(jlong, provider, jlong model) {
    UNUSED;
    return ADDRESS(edgernn_provider(MODEL(model)));
}

NATIVE(jlong, onnxruntimeVersion, jlong model) {
    UNUSED;
    return ADDRESS(edgernn_onnxruntime_version(MODEL(model)));
}

NATIVE(jlong, vocabularySize, jlong model) {
    UNUSED;
    return (jlong)edgernn_vocabulary_size(MODEL(model));
}

NATIVE(jlong, symbol, jlong model, jlong id) {
    UNUSED;
    return ADDRESS(edgernn_symbol(MODEL(model), id));
}

NATIVE(jint, encode, jlong model, jlong text, jlong size, jlong ids, jlong capacity, jlong count,
       jlong error) {
    UNUSED;
    return (jint)edgernn_encode(MODEL(model), POINTER(const char, text), (size_t)size,
                                POINTER(int64_t, ids), (size_t)capacity, POINTER(size_t, count),
                                ERROR(error));
}

NATIVE(jint, decode, jlong model, jlong ids, jlong count, jlong text, jlong capacity, jlong size,
       jlong error) {
    UNUSED;
    return (jint)edgernn_decode(MODEL(model), POINTER(const int64_t, ids), (size_t)count,
                                POINTER(char, text), (size_t)capacity, POINTER(size_t, size),
                                ERROR(error));
}

NATIVE(jint, check, jlong model, jlong golden, jlong differences, jlong error) {
    UNUSED;
    return (jint)edgernn_check(MODEL(model), POINTER(const char, golden),
                               POINTER(edgernn_differences, differences), ERROR(error));
}

/* ---- Streams --------------------------------------------------------------------------------- */

NATIVE(jint, openStream, jlong model, jlong batch, jlong stream, jlong error) {
    UNUSED;
    return (jint)edgernn_stream_open(MODEL(model), (size_t)batch,
                                     POINTER(edgernn_stream *, stream), ERROR(error));
}

NATIVE(void, closeStream, jlong stream) {
    UNUSED;
    edgernn_stream_close(STREAM(stream));
}

NATIVE(jint, call, jint call, jlong stream, jlong inputs, jlong count, jlong outputs,
       jlong output_count, jlong error) {
    UNUSED;
    edgernn_status (*const calls[])(edgernn_stream *, const edgernn_tensor *, size_t,
                                    const edgernn_tensor **, size_t *, edgernn_error *) = {
        edgernn_step, edgernn_feed, edgernn_finish, edgernn_run};
    return (jint)calls[call](STREAM(stream), POINTER(const edgernn_tensor, inputs), (size_t)count,
                             POINTER(const edgernn_tensor *, outputs),
                             POINTER(size_t, output_count), ERROR(error));
}

NATIVE(void, reset, jlong stream) {
    UNUSED;
    edgernn_reset(STREAM(stream));
}

NATIVE(jlong, steps, jlong stream) {
    UNUSED;
    return (jlong)edgernn_steps(STREAM(stream));
}

NATIVE(jlong, rest, jlong stream) {
    UNUSED;
    return (jlong)edgernn_rest(STREAM(stream));
}

NATIVE(jlong, snapshotSize, jlong stream) {
    UNUSED;
    return (jlong)edgernn_snapshot_size(STREAM(stream));
}

NATIVE(jint, snapshot, jlong stream, jlong buffer, jlong size, jlong error) {
    UNUSED;
    return (jint)edgernn_snapshot(STREAM(stream), POINTER(void, buffer), (size_t)size,
                                  ERROR(error));
}

NATIVE(jint, restore, jlong stream, jlong snapshot, jlong size, jlong error) {
    UNUSED;
    return (jint)edgernn_restore(STREAM(stream), POINTER(const void, snapshot), (size_t)size,
                                 ERROR(error));
}

NATIVE(jint, state, jlong stream, jlong name, jlong value, jlong error) {
    UNUSED;
    return (jint)edgernn_state(STREAM(stream), POINTER(const char, name),
                               POINTER(const edgernn_tensor *, value), ERROR(error));
}

NATIVE(jint, setState, jlong stream, jlong value, jlong error) {
    UNUSED;
    return (jint)edgernn_set_state(STREAM(stream), POINTER(const edgernn_tensor, value),
                                   ERROR(error));
}
