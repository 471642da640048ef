/* Replay an artifact's golden run through ONNX Runtime and compare it with the recording.
 *
 *     golden [--no-feedback] [--tolerance 1e-5] LIBONNXRUNTIME ARTIFACT
 *
 * Nothing about the model is written here: its ports, axes and states are read from the graphs, its
 * data from golden/PORT.npy. step.onnx runs step by step; sequence.onnx runs whole and, where its
 * state carries, in chunks of 1, 2, 3, ... steps, or of the only number that it takes. With
 * --no-feedback every call starts from the initial state: the control that must fail. Exit status:
 * 0 agrees, 1 differs, 2 could not run. */
#include <dlfcn.h>
#include <math.h>
#include <onnxruntime_c_api.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define fail(...) (fprintf(stderr, "golden: " __VA_ARGS__), fputc('\n', stderr), exit(2))

enum { API_VERSION = 12, MAX_RANK = 8, MAX_PATH = 4096 };
enum { CONTRACT, KIND, STATES, CARRY, FAMILY, LENGTHS, KEYS }; /* LENGTHS may be absent */
static const char *const keys[KEYS] = {
    "edgernn.contract", "edgernn.graph", "edgernn.states", "edgernn.carry", "edgernn.family",
    "edgernn.lengths"};

typedef struct Port { /* a port and its recording, whose data is [outer][steps][inner bytes] */
    char *name, *data, *buffer[2]; /* buffer: a state's value in turn, or the slice to feed */
    struct Port *next; /* of a state input, the output with its next value; NULL for data */
    int64_t shape[MAX_RANK];
    int type, rank, axis; /* axis: the one of `sequence`; -1 without, and then steps is 1 */
    bool squeezed;        /* whether the graph's port lacks that axis */
    bool counts;          /* whether it holds the number of steps of each sequence, as int64 */
    size_t width, outer, steps, inner; /* width: bytes of an element */
} Port;

typedef struct {
    OrtSession *session;
    Port *ports; /* the inputs, then the outputs */
    char **names, *metadata[KEYS];
    size_t inputs, count;
} Graph;

static const OrtApi *ort;
static OrtEnv *env;
static OrtAllocator *allocator;
static OrtMemoryInfo *cpu;
static Graph sequence, step; /* without a session where the artifact has no such graph */
static size_t total;         /* steps of the golden run */
static size_t only;          /* steps of every call of the sequence graph; 0 for any number */

static void check(OrtStatus *status) {
    if (status) fail("ONNX Runtime: %s", ort->GetErrorMessage(status));
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("no memory for %zu times %zu bytes", count, size);
    return memory;
}

/* A little-endian, row-major .npy file: "\x93NUMPY", version 1.0, header length, header, data. */
static void read_npy(const char *path, Port *port) {
    static const struct { const char *name; int type; size_t width; } types[] = {
        {"'<f4'", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4},
        {"'<i8'", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, 8},
        {"'<i4'", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, 4},
        {"'|b1'", ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, 1}};
    unsigned char start[10];
    char header[1024] = "", *size, *end;
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, 10, file) != 10) fail("`%s` cannot be read", path);
    size_t length = start[8] + 256u * start[9], count = 1;
    if (memcmp(start, "\x93NUMPY\1", 7) || length >= sizeof header ||
        fread(header, 1, length, file) != length || !(size = strstr(header, "'shape': (")))
        fail("`%s` is not a .npy file of version 1", path);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strstr(header, types[i].name)) port->type = types[i].type, port->width = types[i].width;
    if (!port->width || !strstr(header, "'fortran_order': False"))
        fail("`%s` is not row-major float32, int64, int32 or bool: %s", path, header);
    for (size += 10; *size && *size != ')'; size = end + strspn(end, ", ")) {
        if (port->rank == MAX_RANK) fail("`%s` has more than %d axes", path, MAX_RANK);
        count *= (size_t)(port->shape[port->rank++] = strtoll(size, &end, 10));
    }
    port->data = allocate(count, port->width);
    for (int turn = 0; turn < 2; turn++) port->buffer[turn] = allocate(count, port->width);
    if (fread(port->data, port->width, count, file) != count) fail("`%s` ends too early", path);
    fclose(file);
}

/* Find the steps in the recording. A step graph that stands alone has them in front of its axes. In
 * an axis that counts more than steps, as `batch*sequence`, the first symbol is the outer one. */
static void split(Port *port, const char **symbols, int rank, bool alone) {
    const char *symbol = "sequence";
    port->axis = alone && port->rank == rank + 1 ? 0 : -1;
    for (int axis = 0; axis < rank && !alone && port->axis < 0; axis++)
        if (strstr(symbols[axis], "sequence")) symbol = symbols[port->axis = axis];
    port->outer = port->steps = 1, port->inner = port->width;
    for (int axis = 0; axis < port->rank; axis++)
        *(axis < port->axis ? &port->outer : axis > port->axis ? &port->inner : &port->steps) *=
            (size_t)port->shape[axis];
    if (port->axis < 0) return;
    if (!total) total = port->steps;
    if (port->steps % total) fail("`%s` has %zu rows, not one per step", symbol, port->steps);
    *(strncmp(symbol, "sequence", 8) ? &port->outer : &port->inner) *= port->steps / total;
    port->steps = total;
}

static Port *find(Port *ports, size_t count, const char *name, size_t length) {
    for (size_t i = 0; i < count; i++)
        if (!strncmp(ports[i].name, name, length) && !ports[i].name[length]) return &ports[i];
    return NULL;
}

/* Put the names `a,b,` that the metadata gives the axes in the place of those in the graph, where
 * an axis that is a number has none. */
static void name_axes(
    const OrtModelMetadata *metadata, const char *port, const char **symbols, size_t rank) {
    char key[MAX_PATH], *names;
    snprintf(key, sizeof key, "edgernn.axes.%s", port);
    check(ort->ModelMetadataLookupCustomMetadataMap(metadata, allocator, key, &names));
    for (size_t axis = 0; names && axis < rank; axis++) {
        symbols[axis] = names;
        names += strcspn(names, ",");
        if (*names) *names++ = '\0';
    }
}

/* Read a port and its recording; the sequence graph, opened first, names the axis of the steps. */
static void open_port(
    Graph *graph, size_t index, const char *folder, const OrtModelMetadata *metadata) {
    bool input = index < graph->inputs;
    size_t rank, place = input ? index : index - graph->inputs;
    char path[MAX_PATH], **name = &graph->names[index];
    const char *symbols[MAX_RANK];
    int64_t sizes[MAX_RANK];
    const OrtTensorTypeAndShapeInfo *tensor;
    OrtTypeInfo *info;
    Port *port = &graph->ports[index], *known = NULL;
    check((input ? ort->SessionGetInputName : ort->SessionGetOutputName)(
        graph->session, place, allocator, name));
    check((input ? ort->SessionGetInputTypeInfo : ort->SessionGetOutputTypeInfo)(
        graph->session, place, &info));
    check(ort->CastTypeInfoToTensorInfo(info, &tensor));
    check(ort->GetDimensionsCount(tensor, &rank));
    if (rank > MAX_RANK) fail("`%s` has more than %d axes", *name, MAX_RANK);
    check(ort->GetSymbolicDimensions(tensor, symbols, rank));
    check(ort->GetDimensions(tensor, sizes, rank));
    name_axes(metadata, *name, symbols, rank);
    snprintf(path, sizeof path, "%s/golden/%s.npy", folder, *name);
    if (graph == &step) known = find(sequence.ports, sequence.count, *name, strlen(*name));
    if (known) *port = *known;
    else read_npy(path, port), split(port, symbols, (int)rank, graph == &step);
    if (graph == &sequence && port->axis >= 0 && !strcmp(symbols[port->axis], "sequence") &&
        sizes[port->axis] > 0)
        only = (size_t)sizes[port->axis];
    port->name = *name, port->next = NULL;
    port->squeezed = (int)rank < port->rank;
    ort->ReleaseTypeInfo(info);
}

static bool open_graph(Graph *graph, const char *folder, const char *file) {
    OrtSessionOptions *options;
    OrtModelMetadata *metadata;
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *present = fopen(path, "rb");
    if (!present) return false;
    fclose(present);
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1));
    check(ort->CreateSession(env, path, options, &graph->session));
    ort->ReleaseSessionOptions(options);
    check(ort->SessionGetModelMetadata(graph->session, &metadata));
    for (int key = 0; key < KEYS; key++) {
        check(ort->ModelMetadataLookupCustomMetadataMap(
            metadata, allocator, keys[key], &graph->metadata[key]));
        if (!graph->metadata[key] && key != LENGTHS) fail("`%s` has no metadata `%s`", path, keys[key]);
    }
    if (strcmp(graph->metadata[CONTRACT], "1"))
        fail("`%s` has contract version %s, not 1", path, graph->metadata[CONTRACT]);
    if (sequence.session && strcmp(graph->metadata[FAMILY], sequence.metadata[FAMILY]))
        fail("`%s` and sequence.onnx are of two artifacts", path);
    check(ort->SessionGetInputCount(graph->session, &graph->inputs));
    check(ort->SessionGetOutputCount(graph->session, &graph->count));
    graph->count += graph->inputs;
    graph->names = allocate(graph->count, sizeof *graph->names);
    graph->ports = allocate(graph->count, sizeof *graph->ports);
    for (size_t i = 0; i < graph->count; i++) open_port(graph, i, folder, metadata);
    ort->ReleaseModelMetadata(metadata);
    for (char *pair = graph->metadata[STATES]; *pair; pair += *pair == ',') { /* in:out,in:out */
        size_t in = strcspn(pair, ":");
        if (!pair[in]) fail("`%s` has the states `%s`, not in:out", path, pair);
        size_t out = strcspn(pair + in + 1, ",");
        Port *before = find(graph->ports, graph->inputs, pair, in), *after = find(
            graph->ports + graph->inputs, graph->count - graph->inputs, pair + in + 1, out);
        if (!before || !after) fail("`%s` lacks a port for state `%s`", path, pair);
        before->next = after;
        pair += in + 1 + out;
    }
    for (char *name = graph->metadata[LENGTHS]; name && *name; name += *name == ',') {
        Port *port = find(graph->ports, graph->inputs, name, strcspn(name, ","));
        if (port) port->counts = port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
        name += strcspn(name, ",");
    }
    return true;
}

/* The largest difference between the output and the recording of steps start to start + size. */
static double difference(const Port *port, OrtValue *value, size_t start, size_t size) {
    char *output;
    double worst = 0;
    size_t count;
    OrtTensorTypeAndShapeInfo *info;
    if (port->axis < 0) start = 0, size = 1;
    check(ort->GetTensorTypeAndShape(value, &info));
    check(ort->GetTensorShapeElementCount(info, &count));
    check(ort->GetTensorMutableData(value, (void **)&output));
    ort->ReleaseTensorTypeAndShapeInfo(info);
    if (count * port->width != port->outer * size * port->inner)
        fail("`%s` has %zu elements where the recording differs", port->name, count);
    for (size_t row = 0; row < port->outer; row++)
        for (size_t at = 0; at < size * port->inner; at += port->width) {
            const char *expected = port->data + (row * port->steps + start) * port->inner + at;
            const char *got = output + row * size * port->inner + at;
            float numbers[2] = {0, INFINITY}; /* of integers, every difference counts */
            if (!memcmp(expected, got, port->width)) continue;
            if (port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
                memcpy(&numbers[0], expected, 4), memcpy(&numbers[1], got, 4);
            double gap = fabs((double)numbers[0] - (double)numbers[1]);
            if (!(gap <= worst)) worst = isnan(gap) ? INFINITY : gap;
        }
    return worst;
}

/* Make a tensor over `data`, or without it over a copy of the recording's steps from start on. */
static OrtValue *tensor(const Port *port, char *data, size_t start, size_t size) {
    int64_t shape[MAX_RANK];
    size_t rank = 0;
    OrtValue *value = NULL;
    const int64_t count = (int64_t)size;
    if (port->axis < 0) start = 0, size = 1;
    for (size_t row = 0; !data && row < port->outer; row++)
        memcpy(port->buffer[0] + row * size * port->inner,
               port->data + (row * port->steps + start) * port->inner, size * port->inner);
    for (size_t at = 0; port->counts && at < port->outer * port->inner; at += sizeof count)
        memcpy(port->buffer[0] + at, &count, sizeof count);
    for (int axis = 0; axis < port->rank; axis++)
        if (axis != port->axis) shape[rank++] = port->shape[axis];
        else if (!port->squeezed) shape[rank++] = (int64_t)size;
    check(ort->CreateTensorWithDataAsOrtValue(cpu, data ? data : port->buffer[0],
        port->outer * size * port->inner, shape, rank, (ONNXTensorElementDataType)port->type,
        &value));
    return value;
}

/* Run the golden run in calls of `length` steps, or of 1, 2, 3, ... for length 0, each from the
 * state that the call before it left. Return the largest difference. */
static double replay(Graph *graph, size_t length, bool feedback) {
    const char *const *names = (const char *const *)graph->names;
    OrtValue **values = allocate(graph->count, sizeof *values);
    double worst = 0;
    for (size_t start = 0, size = length ? length : 1, turn = 0; start < total;
         start += size, size += !length, turn = !turn) {
        if (size > total - start) size = total - start;
        for (size_t i = 0; i < graph->inputs; i++) {
            Port *port = &graph->ports[i], *next = port->next;
            char *state = next && start && feedback ? next->buffer[turn] : NULL;
            values[i] = tensor(port, state, start, size);
            if (next) values[next - graph->ports] = tensor(next, next->buffer[!turn], 0, 1);
        }
        check(ort->Run(graph->session, NULL, names, (const OrtValue *const *)values, graph->inputs,
            names + graph->inputs, graph->count - graph->inputs, values + graph->inputs));
        for (size_t i = 0; i < graph->count; i++) {
            Port *port = &graph->ports[i];
            double gap = 0;
            if (i >= graph->inputs && (port->axis >= 0 || start + size == total))
                gap = difference(port, values[i], start, size);
            if (gap > worst) worst = gap;
            ort->ReleaseValue(values[i]);
            values[i] = NULL;
        }
    }
    free(values);
    return worst;
}

static const OrtApi *load(const char *path) {
    const OrtApiBase *(*base)(void) = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library) *(void **)&base = dlsym(library, "OrtGetApiBase");
    if (!base) fail("`%s` is not ONNX Runtime: %s", path, dlerror());
    const OrtApi *api = base()->GetApi(API_VERSION);
    if (!api) fail("ONNX Runtime %s is older than 1.%d", base()->GetVersionString(), API_VERSION);
    return api;
}

static bool report(const char *what, double worst, double tolerance) {
    printf("%-24s max difference %.1e\n", what, worst);
    return worst > tolerance;
}

int main(int count, char **arguments) {
    double tolerance = 1e-5;
    bool feedback = true, differs = false;
    int at = 1;
    for (; at < count && !strncmp(arguments[at], "--", 2); at++)
        if (!strcmp(arguments[at], "--no-feedback")) feedback = false;
        else if (!strcmp(arguments[at], "--tolerance") && at + 1 < count)
            tolerance = atof(arguments[++at]);
        else fail("there is no option `%s`", arguments[at]);
    if (count - at != 2)
        fail("usage: golden [--no-feedback] [--tolerance 1e-5] LIBONNXRUNTIME ARTIFACT");
    ort = load(arguments[at]);
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "golden", &env));
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &cpu));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));

    bool whole = open_graph(&sequence, arguments[at + 1], "sequence.onnx");
    bool steps = open_graph(&step, arguments[at + 1], "step.onnx");
    if (!whole && !steps) fail("`%s` has neither sequence.onnx nor step.onnx", arguments[at + 1]);
    if (!total) total = 1;
    if (whole && (!only || only == total))
        differs |= report("sequence.onnx, whole", replay(&sequence, total, feedback), tolerance);
    if (whole && !strcmp(sequence.metadata[CARRY], "yes"))
        differs |= report("sequence.onnx, by chunks", replay(&sequence, only, feedback), tolerance);
    if (steps) differs |= report("step.onnx, by steps", replay(&step, 1, feedback), tolerance);
    ort->ReleaseSession(sequence.session);
    ort->ReleaseSession(step.session);
    ort->ReleaseMemoryInfo(cpu);
    ort->ReleaseEnv(env);
    return differs;
}
