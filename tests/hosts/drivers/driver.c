/* Run the commands of tests/hosts on standard input over the C core, and answer each in one line.
 *
 *     driver < commands       the library's path is in $ONNXRUNTIME_LIBRARY
 *
 * A tensor is NAME:DTYPE:SHAPE:HEX. A reply is `ok …` or `error KIND MESSAGE`. */
#define _POSIX_C_SOURCE 200809L
#include <edgernn.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { MOST_TENSORS = 4096, MOST_AXES = 64 };

static const char *const kinds[] = {"ok", "contract", "provider", "input", "state", "memory"};
static const struct {
    const char *name;
    int32_t dtype;
    size_t width;
} dtypes[] = {{"float32", EDGERNN_FLOAT32, 4}, {"uint8", EDGERNN_UINT8, 1},
              {"int8", EDGERNN_INT8, 1},       {"uint16", EDGERNN_UINT16, 2},
              {"int16", EDGERNN_INT16, 2},     {"int32", EDGERNN_INT32, 4},
              {"int64", EDGERNN_INT64, 8},     {"bool", EDGERNN_BOOL, 1},
              {"float16", EDGERNN_FLOAT16, 2}, {"float64", EDGERNN_FLOAT64, 8},
              {"uint32", EDGERNN_UINT32, 4},   {"uint64", EDGERNN_UINT64, 8}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static edgernn_model *model;
static edgernn_stream *stream;
static edgernn_error error;

static void *allocate(size_t size) {
    void *memory = calloc(size + 1, 1);
    if (!memory) abort();
    return memory;
}

static void print_hex(const void *data, size_t size) {
    for (size_t i = 0; i < size; i++) printf("%02x", ((const unsigned char *)data)[i]);
}

/* Return the bytes of a text in hex; *size is their number. */
static char *read_hex(const char *text, size_t *size) {
    *size = strlen(text) / 2;
    char *bytes = allocate(*size);
    for (size_t i = 0; i < *size; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        bytes[i] = (char)strtol(pair, NULL, 16);
    }
    return bytes;
}

static void print_tensor(const edgernn_tensor *tensor) {
    size_t size = 1, dtype = 0;
    while (dtype + 1 < DTYPES && dtypes[dtype].dtype != tensor->dtype) dtype++;
    printf(" %s:%s:", tensor->name ? tensor->name : "", dtypes[dtype].name);
    for (size_t i = 0; i < tensor->rank; i++) {
        printf("%s%" PRId64, i ? "," : "", tensor->shape[i]);
        size *= (size_t)tensor->shape[i];
    }
    putchar(':');
    if (!tensor->data) putchar('-');
    else print_hex(tensor->data, size * dtypes[dtype].width);
}

/* Read a tensor; its memory is that of `text` and new. A dtype that there is not becomes 0. */
static edgernn_tensor read_tensor(char *text) {
    static char *parts[4];
    edgernn_tensor tensor = {0};
    int64_t *shape = allocate(MOST_AXES * sizeof *shape);
    size_t size;
    for (int i = 0; i < 4; i++) {
        parts[i] = text ? text : "";
        if (text && (text = strchr(text, ':'))) *text++ = 0;
    }
    tensor.name = *parts[0] ? parts[0] : NULL;
    for (size_t i = 0; i < DTYPES; i++)
        if (!strcmp(dtypes[i].name, parts[1])) tensor.dtype = dtypes[i].dtype;
    for (char *at = parts[2]; *at && tensor.rank < MOST_AXES; at += *at == ',')
        shape[tensor.rank++] = strtoll(at, &at, 10);
    tensor.shape = shape;
    tensor.data = strcmp(parts[3], "-") ? read_hex(parts[3], &size) : NULL;
    return tensor;
}

/* Answer a status; return whether the call succeeded. */
static bool answer(edgernn_status status) {
    if (status) printf("error %s %s", kinds[status], error.message);
    else printf("ok");
    return !status;
}

typedef edgernn_status Call(edgernn_stream *, const edgernn_tensor *, size_t,
                            const edgernn_tensor **, size_t *, edgernn_error *);

static void call_stream(Call *call, char *arguments) {
    static edgernn_tensor inputs[MOST_TENSORS];
    const edgernn_tensor *outputs = NULL;
    size_t count = 0, output_count = 0;
    for (char *one = strtok(arguments, " "); one && count < MOST_TENSORS; one = strtok(NULL, " "))
        inputs[count++] = read_tensor(one);
    if (answer(call(stream, inputs, count, &outputs, &output_count, &error)))
        for (size_t i = 0; i < output_count; i++) print_tensor(&outputs[i]);
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)inputs[i].shape);
        free((void *)(uintptr_t)inputs[i].data);
    }
}

static void close_model(void) {
    edgernn_stream_close(stream);
    edgernn_close(model);
    stream = NULL;
    model = NULL;
}

static char *read_file(const char *folder, const char *name, size_t *size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    *size = 0;
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    const long length = ftell(file);
    rewind(file);
    char *bytes = allocate((size_t)length);
    *size = fread(bytes, 1, (size_t)length, file);
    fclose(file);
    return bytes;
}

static void open_path(char *path, bool in_memory) {
    edgernn_options options = {0};
    char *provider = strchr(path, ' ');
    if (provider) *provider++ = 0;
    options.provider = provider;
    close_model();
    if (!in_memory) {
        answer(edgernn_open(path, &options, &model, &error));
        return;
    }
    size_t sizes[2];
    char *whole = read_file(path, "sequence.onnx", &sizes[0]);
    char *step = read_file(path, "step.onnx", &sizes[1]);
    answer(edgernn_open_memory(whole, sizes[0], step, sizes[1], &options, &model, &error));
    free(whole);
    free(step);
}

static void take_snapshot(void) {
    const size_t size = edgernn_snapshot_size(stream);
    char *bytes = allocate(size);
    if (answer(edgernn_snapshot(stream, bytes, size, &error))) {
        putchar(' ');
        print_hex(bytes, size);
    }
    free(bytes);
}

static void encode(const char *hex) {
    size_t size, count = 0;
    char *text = read_hex(hex, &size);
    int64_t *ids = allocate((size + 1) * sizeof *ids);
    if (answer(edgernn_encode(model, text, size, ids, size, &count, &error)))
        for (size_t i = 0; i < count; i++) printf(" %" PRId64, ids[i]);
    free(text);
    free(ids);
}

static void decode(char *arguments) {
    int64_t *ids = allocate((strlen(arguments) + 1) * sizeof *ids);
    size_t count = 0, size = 0;
    for (char *one = strtok(arguments, " "); one; one = strtok(NULL, " "))
        ids[count++] = strtoll(one, NULL, 10);
    if (!edgernn_decode(model, ids, count, NULL, 0, &size, &error)) {
        char *text = allocate(size + 1);
        answer(edgernn_decode(model, ids, count, text, size + 1, &size, &error));
        putchar(' ');
        print_hex(text, size);
        free(text);
    } else {
        answer(edgernn_decode(model, ids, count, NULL, 0, &size, &error));
    }
    free(ids);
}

static void restore(const char *hex) {
    size_t size;
    char *bytes = read_hex(hex, &size);
    answer(edgernn_restore(stream, bytes, size, &error));
    free(bytes);
}

static void set_state(char *text) {
    const edgernn_tensor value = read_tensor(text);
    answer(edgernn_set_state(stream, &value, &error));
    free((void *)(uintptr_t)value.shape);
    free((void *)(uintptr_t)value.data);
}

static void get_state(const char *name) {
    const edgernn_tensor *value;
    if (answer(edgernn_state(stream, name, &value, &error))) print_tensor(value);
}

static void show_metadata(const char *key) {
    const char *value = edgernn_metadata(model, key);
    printf("ok %s", value ? value : "");
}

static void show_facts(void) {
    printf("ok hop=%zu carries=%s vocabulary=%zu provider=%s", edgernn_hop(model),
           edgernn_carries(model) ? "true" : "false", edgernn_vocabulary_size(model),
           edgernn_provider(model));
}

static void check(const char *folder) {
    edgernn_differences found;
    if (answer(edgernn_check(model, folder, &found, &error)))
        printf(" %.9g %.9g %.9g %.9g", found.whole, found.chunks, found.steps, found.without_state);
}

static void open_stream(const char *batch) {
    edgernn_stream_close(stream);
    stream = NULL;
    answer(edgernn_stream_open(model, (size_t)strtoull(batch, NULL, 10), &stream, &error));
}

static void obey(const char *command, char *arguments) {
    if (!strcmp(command, "open")) open_path(arguments, false);
    else if (!strcmp(command, "open_memory")) open_path(arguments, true);
    else if (!strcmp(command, "facts")) show_facts();
    else if (!strcmp(command, "metadata")) show_metadata(arguments);
    else if (!strcmp(command, "stream")) open_stream(arguments);
    else if (!strcmp(command, "step")) call_stream(edgernn_step, arguments);
    else if (!strcmp(command, "feed")) call_stream(edgernn_feed, arguments);
    else if (!strcmp(command, "finish")) call_stream(edgernn_finish, arguments);
    else if (!strcmp(command, "run")) call_stream(edgernn_run, arguments);
    else if (!strcmp(command, "reset")) edgernn_reset(stream), printf("ok");
    else if (!strcmp(command, "counts"))
        printf("ok %" PRIu64 " %zu", edgernn_steps(stream), edgernn_rest(stream));
    else if (!strcmp(command, "snapshot")) take_snapshot();
    else if (!strcmp(command, "restore")) restore(arguments);
    else if (!strcmp(command, "state")) get_state(arguments);
    else if (!strcmp(command, "set_state")) set_state(arguments);
    else if (!strcmp(command, "encode")) encode(arguments);
    else if (!strcmp(command, "decode")) decode(arguments);
    else if (!strcmp(command, "check")) check(arguments);
    else if (!strcmp(command, "close")) close_model(), printf("ok");
    else printf("error input `%s` is not a command", command);
    putchar('\n');
    fflush(stdout);
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        if (line[length - 1] == '\n') line[length - 1] = 0;
        char *space = strchr(line, ' ');
        if (space) *space++ = 0;
        obey(line, space ? space : line + strlen(line));
    }
    free(line);
    close_model();
    return 0;
}
