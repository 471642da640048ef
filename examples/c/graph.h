/* A graph of an artifact by its contract (docs/contract.md): its ports and their axes, its states
 * and their initial values. All of it is read from the graph itself.
 *
 * The includer defines fail(format, ...), which prints a message and must not return. */
#ifndef GRAPH_H
#define GRAPH_H

#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { API_VERSION = 12, MAX_PORTS = 64, MAX_RANK = 8, MAX_NAME = 1024, MAX_PATH = 4096 };

typedef struct {
    char *name;
    ONNXTensorElementDataType type;
    size_t width; /* bytes of an element */
    size_t rank;
    int64_t shape[MAX_RANK];    /* -1 where an axis has any size */
    const char *axes[MAX_RANK]; /* the name of each axis, "" where it has none */
    size_t limit;               /* of ids, which are less than it; 0 where there is no limit */
    size_t delay;               /* of an output, its first steps that are not defined */
    bool counts;                /* whether it holds the number of steps of each sequence */
    bool state;                 /* whether it is an input or output of a state */
    size_t next;                /* of a state input, the index of its output; 0 for other ports */
    OrtTypeInfo *info;          /* `axes` point into these two */
    char *axis_names;
} Port;

typedef struct {
    OrtSession *session;   /* NULL where the artifact has no such graph */
    Port ports[MAX_PORTS]; /* the inputs, then the outputs */
    const char *names[MAX_PORTS];
    size_t inputs, count;
    size_t only;        /* steps of every call, 0 for any number */
    size_t least, most; /* steps that a call has, 0 where there is no such bound */
    size_t hop;         /* steps of the input that a call of the step graph takes */
    char *family, *carry, *divisible; /* the last is NULL where the graph does not say */
} Graph;

/* NumPy's names of ONNX Runtime's types, in its order. */
static const struct {
    const char *name;
    size_t width;
} types[] = {{"undefined", 0}, {"float32", 4}, {"uint8", 1},  {"int8", 1},    {"uint16", 2},
                  {"int16", 2},     {"int32", 4},   {"int64", 8},  {"text", 0},    {"bool", 1},
                  {"float16", 2},   {"float64", 8}, {"uint32", 4}, {"uint64", 8}};

static const OrtApi *ort;
static OrtEnv *env;
static OrtAllocator *allocator;

static inline void check(OrtStatus *status) {
    if (status) fail("ONNX Runtime: %s", ort->GetErrorMessage(status));
}

/* Load ONNX Runtime from its shared library. A program linked with it calls OrtGetApiBase(). */
static inline void start_onnxruntime(const char *library) {
    const OrtApiBase *(*base)(void) = NULL;
    void *loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (loaded) *(void **)&base = dlsym(loaded, "OrtGetApiBase");
    if (!base) fail("`%s` is not ONNX Runtime: %s", library, dlerror());
    if (!(ort = base()->GetApi(API_VERSION)))
        fail("ONNX Runtime %s is older than 1.%d", base()->GetVersionString(), API_VERSION);
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "edgernn", &env));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
}

/* Free a text that ONNX Runtime handed over, or NULL. */
static inline void release(char *text) {
    if (text) check(ort->AllocatorFree(allocator, text));
}

static inline Port *find(Port *ports, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(ports[i].name, name)) return &ports[i];
    return NULL;
}

/* Return the entry edgernn.KEY or edgernn.KEY.NAME of the graph's metadata, NULL if it has none. */
static inline char *metadata(const Graph *graph, const char *key, const char *name) {
    OrtModelMetadata *entries;
    char full[MAX_PATH], *text;
    snprintf(full, sizeof full, "edgernn.%s%s%s", key, name ? "." : "", name ? name : "");
    check(ort->SessionGetModelMetadata(graph->session, &entries));
    check(ort->ModelMetadataLookupCustomMetadataMap(entries, allocator, full, &text));
    ort->ReleaseModelMetadata(entries);
    return text;
}

static inline char *required(const Graph *graph, const char *path, const char *key) {
    char *text = metadata(graph, key, NULL);
    if (!text) fail("`%s` has no metadata `edgernn.%s`", path, key);
    return text;
}

/* Return an entry of the graph's metadata as a number, 0 where it has none. */
static inline size_t number(const Graph *graph, const char *key, const char *name) {
    char *text = metadata(graph, key, name);
    const size_t value = text ? (size_t)strtoull(text, NULL, 10) : 0;
    release(text);
    return value;
}

/* Take the names that the metadata has for the axes of a port, as `batch,sequence,`, instead of the
 * graph's own: there an axis that is a number has none. */
static inline void name_axes(const Graph *graph, Port *port) {
    char *names = port->axis_names = metadata(graph, "axes", port->name);
    for (size_t axis = 0; names && axis < port->rank; axis++) {
        port->axes[axis] = names;
        names += strcspn(names, ",");
        if (*names) *names++ = 0;
    }
}

static inline Port read_port(const Graph *graph, size_t place) {
    const bool input = place < graph->inputs;
    const size_t index = input ? place : place - graph->inputs;
    const OrtTensorTypeAndShapeInfo *tensor;
    Port port = {0};
    check((input ? ort->SessionGetInputName : ort->SessionGetOutputName)(
        graph->session, index, allocator, &port.name));
    check((input ? ort->SessionGetInputTypeInfo : ort->SessionGetOutputTypeInfo)(
        graph->session, index, &port.info));
    check(ort->CastTypeInfoToTensorInfo(port.info, &tensor));
    if (!tensor) fail("`%s` is not a tensor", port.name);
    check(ort->GetTensorElementType(tensor, &port.type));
    if ((size_t)port.type < sizeof types / sizeof *types) port.width = types[port.type].width;
    if (!port.width) fail("`%s` has elements of type %d, not numbers", port.name, (int)port.type);
    check(ort->GetDimensionsCount(tensor, &port.rank));
    if (port.rank > MAX_RANK) fail("`%s` has more than %d axes", port.name, MAX_RANK);
    check(ort->GetDimensions(tensor, port.shape, port.rank));
    check(ort->GetSymbolicDimensions(tensor, port.axes, port.rank));
    name_axes(graph, &port);
    port.limit = number(graph, "limit", port.name);
    port.delay = number(graph, "delay", port.name);
    return port;
}

/* Pair the ports of each state by the entry `IN:OUT,IN:OUT`. */
static inline void pair_states(Graph *graph, const char *path) {
    char *states = required(graph, path, "states"), *out;
    for (char *state = strtok(states, ","); state; state = strtok(NULL, ",")) {
        if (!(out = strchr(state, ':'))) fail("`%s` has the states `%s`, not in:out", path, state);
        *out++ = 0;
        Port *before = find(graph->ports, graph->inputs, state);
        Port *after = find(graph->ports + graph->inputs, graph->count - graph->inputs, out);
        if (!before || !after) fail("`%s` lacks a port for state `%s:%s`", path, state, out);
        before->next = (size_t)(after - graph->ports);
        before->state = after->state = true;
    }
    release(states);
}

static inline void mark_lengths(Graph *graph) {
    char *lengths = metadata(graph, "lengths", NULL);
    for (char *name = lengths ? strtok(lengths, ",") : NULL; name; name = strtok(NULL, ",")) {
        Port *port = find(graph->ports, graph->inputs, name);
        if (port) port->counts = true;
    }
    release(lengths);
}

/* Open FOLDER/FILE and return true, or false where there is no such file. */
static inline bool open_graph(Graph *graph, const char *folder, const char *file) {
    OrtSessionOptions *options;
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *present = fopen(path, "rb");
    if (!present) return false;
    fclose(present);
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1));
    check(ort->CreateSession(env, path, options, &graph->session));
    ort->ReleaseSessionOptions(options);
    char *version = required(graph, path, "contract");
    if (strcmp(version, "1")) fail("`%s` has contract version %s, not 1", path, version);
    release(version);
    graph->carry = required(graph, path, "carry");
    graph->divisible = metadata(graph, "divisible", NULL);
    graph->family = required(graph, path, "family");
    graph->least = number(graph, "least", "sequence");
    graph->most = number(graph, "most", "sequence");
    graph->hop = number(graph, "hop", NULL);
    if (!graph->hop) graph->hop = 1;
    check(ort->SessionGetInputCount(graph->session, &graph->inputs));
    check(ort->SessionGetOutputCount(graph->session, &graph->count));
    graph->count += graph->inputs;
    if (graph->count > MAX_PORTS) fail("`%s` has more than %d ports", path, MAX_PORTS);
    for (size_t i = 0; i < graph->count; i++) {
        const Port port = graph->ports[i] = read_port(graph, i);
        graph->names[i] = port.name;
        for (size_t axis = 0; axis < port.rank; axis++)
            if (port.shape[axis] > 0 && !strcmp(port.axes[axis], "sequence"))
                graph->only = (size_t)port.shape[axis];
    }
    pair_states(graph, path);
    mark_lengths(graph);
    return true;
}

static inline void close_graph(Graph *graph) {
    for (size_t i = 0; i < graph->count; i++) {
        release(graph->ports[i].name);
        release(graph->ports[i].axis_names);
        ort->ReleaseTypeInfo(graph->ports[i].info);
    }
    release(graph->family);
    release(graph->carry);
    release(graph->divisible);
    ort->ReleaseSession(graph->session);
}

/* Write the initial value of a state into `data`: zeros, or learned values. A value for one
 * sequence is the same for all sequences of the batch, `shape` being the state's. */
static inline void write_initial(const Graph *graph, const Port *port, const int64_t *shape,
                                 char *data) {
    size_t batch = 1, inner = 1, total = 1;
    char name[MAX_NAME], *end;
    for (size_t axis = 0; axis < port->rank; axis++) {
        const bool is_batch = !strcmp(port->axes[axis], "batch");
        batch = is_batch ? (size_t)shape[axis] : batch;
        inner = is_batch ? 1 : inner * (size_t)shape[axis];
        total *= (size_t)shape[axis];
    }
    memset(data, 0, total * port->width);
    snprintf(name, sizeof name, "%s", port->name);
    if ((end = strrchr(name, '_')) && !strcmp(end, "_in")) *end = 0;
    char *text = metadata(graph, "initial", name), *at = text;
    const bool is_float = port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    const bool is_integer = port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    if (text && !is_float && !is_integer && port->type != ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL)
        fail("`%s` is %s; initial values are read as float32, int64 and bool only", port->name,
             types[port->type].name);
    for (size_t outer = 0; text && outer < total; outer += batch * inner)
        for (size_t i = 0; i < inner; i++) {
            const float value = strtof(at, &end);
            const int64_t integer = strtoll(at, NULL, 10);
            const bool truth = integer != 0;
            const void *number = is_float ? (void *)&value : is_integer ? (void *)&integer : &truth;
            if (end == at) fail("`edgernn.initial.%s` ends before its %zu numbers", name, total);
            for (size_t j = 0; j < batch; j++)
                memcpy(data + (outer + j * inner + i) * port->width, number, port->width);
            at = end;
        }
    release(text);
}

#endif
