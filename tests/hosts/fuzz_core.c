/* Open mutated artifacts in the C core and call it at random: no crash, no leak, a status each time.
 *
 *     fuzz_core ARTIFACT FIRST COUNT     the cases FIRST to FIRST + COUNT - 1, each from its number
 *
 * A case is an artifact with a few changes; where it opens, five streams are called at random. Most
 * mutations change the metadata, at the end of a file, and keep its lengths, so that ONNX Runtime
 * still opens the graph. Prints how many were opened and called, and how often each status was returned.
 * The number of a case that crashes is the last line of standard error where $FUZZ_TRACE is set. */
#define _POSIX_C_SOURCE 200809L
#include <edgernn.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUSES = 6, MOST_INPUTS = 8, MOST_ELEMENTS = 4096, CALLS = 8, SEQUENCES = 5 };

typedef struct File {
    unsigned char *bytes;
    size_t size, metadata; /* metadata: where it starts */
} File;

static uint64_t random_state;
static unsigned long statuses[STATUSES], opened, sequences, silent;

static uint64_t draw(uint64_t bound) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return bound ? random_state % bound : 0;
}

static void stop(const char *reason) {
    fprintf(stderr, "fuzz_core: %s\n", reason);
    exit(2);
}

static File read_file(const char *folder, const char *name) {
    File file = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "rb");
    if (!stream) return file;
    fseek(stream, 0, SEEK_END);
    file.size = (size_t)ftell(stream);
    rewind(stream);
    if (!(file.bytes = malloc(file.size)) || fread(file.bytes, 1, file.size, stream) != file.size)
        stop("a graph cannot be read");
    fclose(stream);
    for (size_t i = 0; i + 8 < file.size && !file.metadata; i++)
        if (!memcmp(file.bytes + i, "edgernn.", 8)) file.metadata = i;
    return file;
}

/* Return a copy of a file with a few changes. */
static unsigned char *mutate(const File *file) {
    static const char useful[] = "0123456789,:-*/()_ \nabchxin\\\x80\xff";
    unsigned char *copy = malloc(file->size + 1);
    if (!copy) stop("there is no memory");
    memcpy(copy, file->bytes, file->size);
    const bool in_graph = !draw(8);
    const size_t start = in_graph ? 0 : file->metadata;
    for (uint64_t changes = 1 + draw(3); changes; changes--) {
        const size_t place = start + draw(file->size - start);
        const unsigned char old = copy[place];
        if (in_graph) copy[place] = (unsigned char)draw(256);
        else if (old >= ' ' && old < 0x7F && draw(8)) copy[place] = (unsigned char)useful[draw(sizeof useful - 1)];
        else if (!draw(16)) copy[place] = (unsigned char)draw(256);
    }
    return copy;
}

static edgernn_status note(edgernn_status status, const edgernn_error *error) {
    if ((int)status < 0 || (int)status >= STATUSES) stop("a status is not one");
    statuses[status]++;
    if (!memchr(error->message, 0, sizeof error->message)) stop("a message does not end");
    if (!!*error->message != (status != EDGERNN_OK)) silent++;
    return status;
}

static size_t width_of(int32_t dtype) {
    static const size_t widths[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8};
    return dtype > 0 && dtype < 14 ? widths[dtype] : 0;
}

/* Make the data inputs of a call, mostly right. */
static size_t make_inputs(const edgernn_model *model, edgernn_graph graph, size_t batch,
                          edgernn_tensor *inputs, int64_t shapes[][32], unsigned char *data) {
    size_t count = 0;
    const int64_t steps = (int64_t)(1 + draw(3 * edgernn_hop(model) < 64 ? 3 * edgernn_hop(model) : 64));
    for (size_t i = 0; i < edgernn_input_count(model, graph) && count < MOST_INPUTS; i++) {
        const edgernn_port *port = edgernn_input(model, graph, i);
        if (port->is_state || port->is_lengths || !draw(60)) continue;
        size_t elements = 1;
        for (size_t axis = 0; axis < port->rank; axis++) {
            const bool is_batch = !strcmp(port->axes[axis], "batch");
            int64_t size = port->shape[axis] >= 0 ? port->shape[axis] : is_batch ? (int64_t)batch : steps;
            if (!draw(80)) size = (int64_t)draw(5) - 1;
            if (size > MOST_ELEMENTS || elements * (size_t)(size < 0 ? 0 : size) > MOST_ELEMENTS) size = 1;
            if (size > 0) elements *= (size_t)size;
            shapes[count][axis] = draw(400) ? size : INT64_MAX; /* more than any memory */
        }
        const edgernn_tensor tensor = {draw(50) ? port->name : NULL, draw(60) ? port->dtype : (int32_t)draw(20),
                                       draw(80) ? port->rank : draw(4), shapes[count], data};
        inputs[count++] = tensor;
    }
    memset(data, 0, MOST_ELEMENTS * 8);
    for (size_t i = 0; i < 64; i += 8) data[i] = (unsigned char)draw(3);
    return count;
}

/* Read all elements of outputs, so that a wrong pointer is found. */
static void read_outputs(const edgernn_tensor *outputs, size_t count) {
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = width_of(outputs[i].dtype);
        for (size_t axis = 0; axis < outputs[i].rank; axis++) bytes *= (size_t)outputs[i].shape[axis];
        for (size_t j = 0; outputs[i].data && j < bytes; j++)
            sum = (unsigned char)(sum + ((const unsigned char *)outputs[i].data)[j]);
    }
}

typedef edgernn_status Call(edgernn_stream *, const edgernn_tensor *, size_t,
                            const edgernn_tensor **, size_t *, edgernn_error *);

static void call_graph(edgernn_model *model, edgernn_stream *stream, size_t batch) {
    static Call *const calls[] = {edgernn_step, edgernn_feed, edgernn_run, edgernn_finish};
    static int64_t shapes[MOST_INPUTS][32];
    unsigned char *data = malloc(MOST_ELEMENTS * 8);
    edgernn_tensor inputs[MOST_INPUTS];
    const edgernn_tensor *outputs = NULL;
    size_t output_count = 0;
    edgernn_error error = {""};
    const uint64_t call = draw(16);
    const size_t place = call < 6 ? 0 : call < 12 ? 1 : call < 15 ? 2 : 3;
    const bool is_step = !place && edgernn_has_graph(model, EDGERNN_STEP);
    if (!data) stop("there is no memory");
    const edgernn_graph graph =
        is_step || !edgernn_has_graph(model, EDGERNN_SEQUENCE) ? EDGERNN_STEP : EDGERNN_SEQUENCE;
    const size_t count = place == 3 ? 0 : make_inputs(model, graph, batch, inputs, shapes, data);
    if (!note(calls[place](stream, inputs, count, &outputs, &output_count, &error), &error))
        read_outputs(outputs, output_count);
    free(data);
}

/* Take a snapshot, change it at times, and restore it. */
static void move_snapshot(edgernn_stream *stream) {
    edgernn_error error = {""};
    const size_t size = edgernn_snapshot_size(stream);
    unsigned char *bytes = malloc(size + 1);
    if (!bytes) stop("there is no memory");
    note(edgernn_snapshot(stream, bytes, size - (draw(8) ? 0 : 1), &error), &error);
    if (draw(2)) bytes[draw(size)] = (unsigned char)draw(256);
    note(edgernn_restore(stream, bytes, size - (draw(8) ? 0 : draw(size)), &error), &error);
    free(bytes);
}

static void use_text(edgernn_model *model) {
    edgernn_error error = {""};
    char text[64], answer[128];
    int64_t ids[64];
    size_t count = 0, size = 0;
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(draw(20) ? 'a' + (char)draw(5) : (char)draw(256));
    if (!note(edgernn_encode(model, text, draw(sizeof text), ids, draw(64), &count, &error), &error))
        for (size_t i = 0; i < 8; i++) ids[i] = (int64_t)draw(14) - 1;
    else memset(ids, 0, sizeof ids);
    note(edgernn_decode(model, ids, draw(8), answer, draw(sizeof answer), &size, &error), &error);
    edgernn_symbol(model, (int64_t)draw(20) - 2);
}

static void use_states(edgernn_model *model, edgernn_stream *stream) {
    edgernn_error error = {""};
    const edgernn_tensor *value;
    for (size_t i = 0; i < edgernn_input_count(model, EDGERNN_STEP); i++) {
        const edgernn_port *port = edgernn_input(model, EDGERNN_STEP, i);
        if (note(edgernn_state(stream, port->name, &value, &error), &error)) continue;
        read_outputs(value, 1);
        edgernn_tensor other = *value;
        if (!draw(4)) other.dtype = (int32_t)draw(20);
        if (!draw(4)) other.rank = draw(5) < other.rank ? draw(other.rank) : other.rank;
        note(edgernn_set_state(stream, &other, &error), &error);
    }
}

/* Run a sequence of calls on a stream. */
static void run_calls(edgernn_model *model) {
    edgernn_stream *stream = NULL;
    edgernn_error error = {""};
    const size_t batch = draw(12) ? 1 + draw(3) : draw(2) ? 0 : 1 + draw(1000);
    if (note(edgernn_stream_open(model, batch, &stream, &error), &error)) return;
    sequences++;
    for (int i = 0; i < CALLS; i++) {
        const uint64_t what = draw(16);
        if (what < 10) call_graph(model, stream, batch);
        else if (what < 12) move_snapshot(stream);
        else if (what < 13) edgernn_reset(stream);
        else if (what < 14) use_text(model);
        else use_states(model, stream);
    }
    edgernn_stream_close(stream);
}

static void run_case(const File files[2], const char *folder) {
    edgernn_model *model = NULL;
    edgernn_stream *stream = NULL;
    edgernn_error error = {""};
    unsigned char *copies[2] = {NULL, NULL};
    const uint64_t both = draw(4);
    for (size_t i = 0; i < 2; i++)
        if (files[i].bytes && (both || draw(2))) copies[i] = mutate(&files[i]);
    if (copies[0] && copies[1] && draw(3)) { /* one of both is as it was */
        const size_t place = draw(2);
        memcpy(copies[place], files[place].bytes, files[place].size);
    }
    const edgernn_status status = note(
        edgernn_open_memory(copies[0], copies[0] ? files[0].size : 0, copies[1], copies[1] ? files[1].size : 0,
                            NULL, &model, &error), &error);
    for (size_t i = 0; i < 2; i++) free(copies[i]);
    if (status) return;
    opened++;
    for (int i = 0; i < SEQUENCES; i++) run_calls(model);
    if (!draw(8)) {
        char golden[4096];
        edgernn_differences found;
        snprintf(golden, sizeof golden, "%s/golden", folder);
        note(edgernn_check(model, golden, &found, &error), &error);
    }
    if (edgernn_stream_open(model, 1, &stream, NULL)) stream = NULL;
    edgernn_close(model); /* the stream keeps what it needs */
    edgernn_stream_close(stream);
}

int main(int count, char **arguments) {
    if (count != 4) stop("usage: fuzz_core ARTIFACT FIRST COUNT");
    const File files[2] = {read_file(arguments[1], "sequence.onnx"), read_file(arguments[1], "step.onnx")};
    const unsigned long first = strtoul(arguments[2], NULL, 10), cases = strtoul(arguments[3], NULL, 10);
    const bool traces = getenv("FUZZ_TRACE") != NULL;
    if (!files[0].bytes && !files[1].bytes) stop("the artifact has no graph");
    edgernn_model *kept = NULL; /* ONNX Runtime starts once, not in each case */
    edgernn_error error;
    if (edgernn_open(arguments[1], NULL, &kept, &error)) stop(error.message);
    for (unsigned long number = first; number < first + cases; number++) {
        random_state = (number + 1) * UINT64_C(0x9E3779B97F4A7C15);
        if (traces) fprintf(stderr, "%lu\n", number);
        for (int i = 0; i < 4; i++) draw(2);
        run_case(files, arguments[1]);
    }
    printf("%lu artifacts, %lu opened, %lu sequences of calls", cases, opened, sequences);
    static const char *const names[] = {"ok", "contract", "provider", "input", "state", "memory"};
    for (size_t i = 0; i < STATUSES; i++) printf(", %s %lu", names[i], statuses[i]);
    printf(", without a message %lu\n", silent);
    edgernn_close(kept);
    free(files[0].bytes);
    free(files[1].bytes);
    return silent != 0;
}
