/* A graph of an artifact by its contract: its ports, each with its recording, and its states. The
 * includer defines fail(format, ...), which must not return. */
#ifndef GRAPH_H
#define GRAPH_H

#include <onnxruntime_c_api.h>
#include <stdbool.h>

#include "npy.h"

enum { MAX_PORTS = 64, MAX_PATH = 4096 };

typedef struct {
    char *name;
    Array run;                  /* the recording, its data being [outer][steps][inner bytes] */
    size_t outer, steps, inner; /* steps is 1 where there is no axis of steps */
    int axis;                   /* that of the steps, -1 without */
    bool squeezed;              /* whether the graph's port lacks that axis */
    bool counts;                /* whether it holds the number of steps of each sequence */
    size_t next;                /* of a state input, the place of the output that follows it */
} Port;

typedef struct Graph {
    OrtSession *session;   /* NULL where the artifact has no such graph */
    Port ports[MAX_PORTS]; /* the inputs, then the outputs */
    const char *names[MAX_PORTS];
    size_t inputs, count;
    size_t only;        /* steps of every call, 0 for any number */
    size_t least, most; /* steps that a call has, 0 where there is no such bound */
    char *family, *carry;
} Graph;

static const OrtApi *ort;
static OrtEnv *env;
static OrtAllocator *allocator;

static void check(OrtStatus *status) {
    if (status) fail("ONNX Runtime: %s", ort->GetErrorMessage(status));
}

/* Free a text that ONNX Runtime handed over, or NULL. */
static void release(char *text) {
    if (text) check(ort->AllocatorFree(allocator, text));
}

static Port *find(Port *ports, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(ports[i].name, name)) return &ports[i];
    return NULL;
}

/* Return an entry of the graph's metadata, NULL where it has none and may have none. */
static char *metadata(const Graph *graph, const char *path, const char *key, bool required) {
    OrtModelMetadata *entries;
    char *text;
    check(ort->SessionGetModelMetadata(graph->session, &entries));
    check(ort->ModelMetadataLookupCustomMetadataMap(entries, allocator, key, &text));
    if (!text && required) fail("`%s` has no metadata `%s`", path, key);
    ort->ReleaseModelMetadata(entries);
    return text;
}

/* Return an entry of the graph's metadata as a number, 0 where it has none. */
static size_t bound(const Graph *graph, const char *key) {
    char *text = metadata(graph, "", key, false);
    const size_t size = text ? (size_t)strtoull(text, NULL, 10) : 0;
    release(text);
    return size;
}

/* Put the names that the metadata has for the axes of a port, as `batch,sequence,`, in the place of
 * the graph's own: there an axis that is a number has none. Return the text that they are in. */
static char *name_axes(const Graph *graph, const char *port, const char **symbols, size_t rank) {
    char key[MAX_PATH];
    snprintf(key, sizeof key, "edgernn.axes.%s", port);
    char *text = metadata(graph, "", key, false), *names = text;
    for (size_t axis = 0; names && axis < rank; axis++) {
        symbols[axis] = names;
        names += strcspn(names, ",");
        if (*names) *names++ = 0;
    }
    return text;
}

/* Find the axis of the steps in a recording, `rank` symbols naming the axes of the port. A step
 * graph that stands alone names none: its recording has the steps in front. In an axis that counts
 * more than steps, as `batch*sequence`, the first symbol is the outer one. */
static void find_steps(Port *port, const char **symbols, int rank, bool alone, size_t *total) {
    const char *symbol = "sequence";
    port->axis = alone && port->run.rank > rank ? 0 : -1;
    for (int axis = 0; axis < rank && !alone && port->axis < 0; axis++)
        if (strstr(symbols[axis], "sequence")) symbol = symbols[port->axis = axis];
    port->outer = port->steps = 1, port->inner = port->run.width;
    for (int axis = 0; axis < port->run.rank; axis++)
        *(axis < port->axis ? &port->outer : axis > port->axis ? &port->inner : &port->steps) *=
            (size_t)port->run.shape[axis];
    if (port->axis < 0) return;
    if (!*total) *total = port->steps;
    if (port->steps % *total) fail("`%s` has %zu rows, not one per step", symbol, port->steps);
    *(strncmp(symbol, "sequence", 8) ? &port->outer : &port->inner) *= port->steps / *total;
    port->steps = *total;
}

/* Read a port and its recording, which the same port of `whole` has already where there is one. */
static Port read_port(Graph *graph, size_t place, Graph *whole, const char *folder, size_t *total) {
    bool input = place < graph->inputs;
    size_t rank, index = input ? place : place - graph->inputs;
    char path[MAX_PATH];
    const char *symbols[MAX_RANK];
    int64_t sizes[MAX_RANK];
    const OrtTensorTypeAndShapeInfo *tensor;
    OrtTypeInfo *info;
    Port port = {0}, *known;
    check((input ? ort->SessionGetInputName : ort->SessionGetOutputName)(
        graph->session, index, allocator, &port.name));
    check((input ? ort->SessionGetInputTypeInfo : ort->SessionGetOutputTypeInfo)(
        graph->session, index, &info));
    check(ort->CastTypeInfoToTensorInfo(info, &tensor));
    check(ort->GetDimensionsCount(tensor, &rank));
    if (rank > MAX_RANK) fail("`%s` has more than %d axes", port.name, MAX_RANK);
    check(ort->GetSymbolicDimensions(tensor, symbols, rank));
    check(ort->GetDimensions(tensor, sizes, rank));
    char *axes = name_axes(graph, port.name, symbols, rank);
    for (size_t axis = 0; axis < rank; axis++)
        if (sizes[axis] > 0 && !strcmp(symbols[axis], "sequence"))
            graph->only = (size_t)sizes[axis];
    if (whole && (known = find(whole->ports, whole->count, port.name))) {
        release(port.name);
        port = *known, port.next = 0;
    } else {
        snprintf(path, sizeof path, "%s/golden/%s.npy", folder, port.name);
        port.run = read_npy(path);
        find_steps(&port, symbols, (int)rank, whole != NULL, total);
    }
    port.squeezed = (int)rank < port.run.rank;
    release(axes);
    ort->ReleaseTypeInfo(info);
    return port;
}

/* Open FOLDER/FILE if it is there. Of a step graph, `whole` is the sequence graph, opened before.
 * `total` is the number of steps in the recording, 0 until a port tells. */
static void open_graph(Graph *graph, Graph *whole, const char *folder, const char *file,
                       size_t *total) {
    OrtSessionOptions *options;
    char path[MAX_PATH], *out;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *present = fopen(path, "rb");
    if (!present) return;
    fclose(present);
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1));
    check(ort->CreateSession(env, path, options, &graph->session));
    ort->ReleaseSessionOptions(options);
    char *version = metadata(graph, path, "edgernn.contract", true);
    if (strcmp(version, "1")) fail("`%s` has contract version %s, not 1", path, version);
    release(version);
    graph->carry = metadata(graph, path, "edgernn.carry", true);
    graph->family = metadata(graph, path, "edgernn.family", true);
    graph->least = bound(graph, "edgernn.least.sequence");
    graph->most = bound(graph, "edgernn.most.sequence");
    if (whole && whole->session && strcmp(graph->family, whole->family))
        fail("`%s` and sequence.onnx are of two artifacts", path);
    check(ort->SessionGetInputCount(graph->session, &graph->inputs));
    check(ort->SessionGetOutputCount(graph->session, &graph->count));
    graph->count += graph->inputs;
    if (graph->count > MAX_PORTS) fail("`%s` has more than %d ports", path, MAX_PORTS);
    for (size_t i = 0; i < graph->count; i++) {
        graph->ports[i] = read_port(graph, i, whole, folder, total);
        graph->names[i] = graph->ports[i].name;
    }
    char *states = metadata(graph, path, "edgernn.states", true); /* in:out,in:out */
    for (char *state = strtok(states, ","); state; state = strtok(NULL, ",")) {
        if (!(out = strchr(state, ':'))) fail("`%s` has the states `%s`, not in:out", path, state);
        *out++ = 0;
        Port *before = find(graph->ports, graph->inputs, state);
        Port *after = find(graph->ports + graph->inputs, graph->count - graph->inputs, out);
        if (!before || !after) fail("`%s` lacks a port for state `%s:%s`", path, state, out);
        before->next = (size_t)(after - graph->ports);
    }
    char *lengths = metadata(graph, path, "edgernn.lengths", false);
    char *name = lengths ? strtok(lengths, ",") : NULL;
    for (; name; name = strtok(NULL, ",")) {
        Port *port = find(graph->ports, graph->inputs, name);
        if (port) port->counts = true;
    }
    release(states);
    release(lengths);
}

#endif
