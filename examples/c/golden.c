/* Replay an artifact's golden run through ONNX Runtime and compare it with the recording.
 *
 *     golden [--no-feedback] [--tolerance 1e-5] LIBONNXRUNTIME ARTIFACT
 *
 * Nothing about the model is written here: its ports, axes and states are read from the graphs
 * (graph.h), its data from golden/PORT.npy (npy.h). step.onnx runs step by step; sequence.onnx runs
 * whole and, where its state carries, in chunks of 1, 2, 3, ... steps; one of a constant number of
 * steps, in chunks of that number. With --no-feedback every call starts from the initial state: the
 * control that must fail. Exit status: 0 agrees, 1 differs, 2 could not run. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define fail(...) (fprintf(stderr, "golden: " __VA_ARGS__), fputc('\n', stderr), exit(2))
#include "graph.h"

enum { API_VERSION = 12 };

static Graph sequence, step;
static size_t total; /* steps of the golden run */

/* Return a tensor of the recording's steps from `start` on. */
static OrtValue *slice(const Port *port, size_t start, size_t size) {
    const Array *run = &port->run;
    const int64_t count = (int64_t)size;
    int64_t shape[MAX_RANK];
    size_t rank = 0;
    char *data;
    OrtValue *value;
    if (port->axis < 0) start = 0, size = 1;
    for (int axis = 0; axis < run->rank; axis++)
        if (axis != port->axis) shape[rank++] = run->shape[axis];
        else if (!port->squeezed) shape[rank++] = run->shape[axis] / (int64_t)port->steps * count;
    check(ort->CreateTensorAsOrtValue(allocator, shape, rank, run->type, &value));
    check(ort->GetTensorMutableData(value, (void **)&data));
    for (size_t row = 0; row < port->outer; row++)
        memcpy(data + row * size * port->inner,
               run->data + (row * port->steps + start) * port->inner, size * port->inner);
    for (size_t at = 0; port->counts && at < port->inner; at += run->width)
        memcpy(data + at, &count, run->width); /* the first bytes of a little-endian number */
    return value;
}

static size_t elements(OrtValue *value, char **data) {
    size_t count;
    OrtTensorTypeAndShapeInfo *info;
    check(ort->GetTensorTypeAndShape(value, &info));
    check(ort->GetTensorShapeElementCount(info, &count));
    check(ort->GetTensorMutableData(value, (void **)data));
    ort->ReleaseTensorTypeAndShapeInfo(info);
    return count;
}

/* Return the largest difference of an output from the recording's steps from `start` on. */
static double difference(const Port *port, OrtValue *value, size_t start, size_t size) {
    OrtValue *recorded = slice(port, start, size);
    char *got, *wanted;
    double worst = 0;
    size_t count = elements(value, &got), width = port->run.width;
    if (count != elements(recorded, &wanted))
        fail("`%s` has %zu elements where the recording differs", port->name, count);
    for (size_t at = 0; at < count * width; at += width) {
        float numbers[2] = {0, INFINITY}; /* of integers, every difference counts */
        if (!memcmp(got + at, wanted + at, width)) continue;
        if (port->run.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
            memcpy(&numbers[0], got + at, 4), memcpy(&numbers[1], wanted + at, 4);
        double gap = fabs((double)numbers[0] - (double)numbers[1]);
        if (!(gap <= worst)) worst = isnan(gap) ? INFINITY : gap;
    }
    ort->ReleaseValue(recorded);
    return worst;
}

/* Run the golden run in calls of `length` steps, or of 1, 2, 3, ... for length 0, each from the
 * state that the call before it left. Return the largest difference. */
static double replay(Graph *graph, size_t length, bool feedback) {
    const size_t inputs = graph->inputs, outputs = graph->count - inputs;
    OrtValue *values[MAX_PORTS] = {0}; /* by port; between calls, of the state inputs alone */
    double worst = 0;
    for (size_t start = 0, size = length ? length : 1; start < total;
         start += size, size += !length) {
        if (size > total - start) size = total - start;
        if (graph->most && size > graph->most)
            fail("a call of %zu steps, but the graph takes at most %zu", size, graph->most);
        if (graph->least && size < graph->least)
            fail("a call of %zu steps, but the graph takes at least %zu", size, graph->least);
        for (size_t i = 0; i < inputs; i++)
            if (!values[i]) values[i] = slice(&graph->ports[i], start, size);
        check(ort->Run(graph->session, NULL, graph->names, (const OrtValue *const *)values, inputs,
                       graph->names + inputs, outputs, values + inputs));
        for (size_t i = inputs; i < graph->count; i++) {
            if (graph->ports[i].axis < 0 && start + size < total) continue; /* not the last yet */
            double gap = difference(&graph->ports[i], values[i], start, size);
            if (gap > worst) worst = gap;
        }
        for (size_t i = 0; i < inputs; i++) {
            size_t next = feedback ? graph->ports[i].next : 0;
            ort->ReleaseValue(values[i]);
            values[i] = next ? values[next] : NULL;
            if (next) values[next] = NULL;
        }
        for (size_t i = inputs; i < graph->count; values[i++] = NULL) ort->ReleaseValue(values[i]);
    }
    for (size_t i = 0; i < inputs; i++) ort->ReleaseValue(values[i]);
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
    const char *folder = arguments[at + 1];
    ort = load(arguments[at]);
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "golden", &env));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    open_graph(&sequence, NULL, folder, "sequence.onnx", &total);
    open_graph(&step, &sequence, folder, "step.onnx", &total);
    if (!sequence.session && !step.session)
        fail("`%s` has neither sequence.onnx nor step.onnx", folder);
    if (!total) total = 1;
    if (sequence.session && (!sequence.only || sequence.only == total))
        differs |= report("sequence.onnx, whole", replay(&sequence, total, feedback), tolerance);
    if (sequence.session && !strcmp(sequence.carry, "yes"))
        differs |= report("sequence.onnx, by chunks", replay(&sequence, sequence.only, feedback),
                          tolerance);
    if (step.session)
        differs |= report("step.onnx, by steps", replay(&step, 1, feedback), tolerance);
    ort->ReleaseSession(sequence.session);
    ort->ReleaseSession(step.session);
    ort->ReleaseEnv(env);
    return differs;
}
