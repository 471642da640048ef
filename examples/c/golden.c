/* Replay an artifact's golden run through ONNX Runtime and compare it with the recording.
 *
 *     golden [--no-feedback] [--tolerance 1e-5] LIBONNXRUNTIME ARTIFACT
 *
 * Nothing about the model is written here: its ports, axes and states are read from the graphs
 * (graph.h), its data from golden/PORT.npy (recording.h). step.onnx runs step by step, or hop by
 * hop; sequence.onnx runs whole and, where its state carries, in chunks of 1, 2, 3, ... hops; one of
 * a constant number of steps, in chunks of that number. Steps of an output that are not defined yet
 * (its delay) are not compared. With --no-feedback every call starts from the initial
 * state: the control that must fail. Exit status: 0 agrees, 1 differs, 2 could not run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define fail(...) (fprintf(stderr, "golden: " __VA_ARGS__), fputc('\n', stderr), exit(2))
#include "recording.h"

static Recorded sequence, step;
static size_t total; /* hops of the golden run; a hop is one step for most models */

static size_t elements(OrtValue *value, char **data) {
    size_t count;
    OrtTensorTypeAndShapeInfo *info;
    check(ort->GetTensorTypeAndShape(value, &info));
    check(ort->GetTensorShapeElementCount(info, &count));
    check(ort->GetTensorMutableData(value, (void **)data));
    ort->ReleaseTensorTypeAndShapeInfo(info);
    return count;
}

/* Return the largest difference of an output from the recording's hops from `start` on. */
static double difference(const Recording *recording, const Port *port, OrtValue *value,
                         size_t hop, size_t start, size_t size) {
    OrtValue *recorded = slice(recording, port, hop, start, size);
    char *got, *wanted;
    double worst = 0;
    const size_t count = elements(value, &got), width = recording->run.width;
    const size_t line = (recording->axis < 0 ? 1 : size) * recording->inner; /* of one outer row */
    const size_t before = start * recording->rows, late = port->delay;
    const size_t skipped = recording->axis < 0 || late <= before
                               ? 0
                               : (late - before) * (recording->inner / recording->rows);
    if (count != elements(recorded, &wanted))
        fail("`%s` has %zu elements where the recording differs", port->name, count);
    for (size_t at = 0; at < count * width; at += width) {
        if (at % line < skipped) continue;
        float numbers[2] = {0, INFINITY}; /* of integers, every difference counts */
        if (!memcmp(got + at, wanted + at, width)) continue;
        if (recording->run.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
            memcpy(&numbers[0], got + at, 4), memcpy(&numbers[1], wanted + at, 4);
        double gap = fabs((double)numbers[0] - (double)numbers[1]);
        if (!(gap <= worst)) worst = isnan(gap) ? INFINITY : gap;
    }
    ort->ReleaseValue(recorded);
    return worst;
}

/* Run the golden run in calls of `length` hops, or of 1, 2, 3, ... for length 0, each from the
 * state that the call before it left. Return the largest difference. */
static double replay(Recorded *recorded, size_t length, bool feedback) {
    const Graph *graph = &recorded->graph;
    const Recording *recordings = recorded->recordings;
    const size_t inputs = graph->inputs, outputs = graph->count - inputs;
    OrtValue *values[MAX_PORTS] = {0}; /* by port; between calls, of the state inputs alone */
    double worst = 0;
    for (size_t start = 0, size = length ? length : 1; start < total;
         start += size, size += !length) {
        if (size > total - start) size = total - start;
        const size_t steps = size * graph->hop;
        if (graph->most && steps > graph->most)
            fail("a call of %zu steps, but the graph takes at most %zu", steps, graph->most);
        if (graph->least && steps < graph->least)
            fail("a call of %zu steps, but the graph takes at least %zu", steps, graph->least);
        for (size_t i = 0; i < inputs; i++)
            if (!values[i])
                values[i] = slice(&recordings[i], &graph->ports[i], graph->hop, start, size);
        check(ort->Run(graph->session, NULL, graph->names, (const OrtValue *const *)values, inputs,
                       graph->names + inputs, outputs, values + inputs));
        for (size_t i = inputs; i < graph->count; i++) {
            if (recordings[i].axis < 0 && start + size < total) continue; /* not the last yet */
            double gap = difference(&recordings[i], &graph->ports[i], values[i], graph->hop, start,
                                    size);
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
    start_onnxruntime(arguments[at]);
    Graph *whole = &sequence.graph, *one = &step.graph;
    if (open_graph(whole, folder, "sequence.onnx"))
        read_recordings(&sequence, NULL, folder, &total);
    if (open_graph(one, folder, "step.onnx")) {
        if (whole->session && strcmp(one->family, whole->family))
            fail("`%s/step.onnx` and sequence.onnx are of two artifacts", folder);
        read_recordings(&step, &sequence, folder, &total);
    }
    if (!whole->session && !one->session)
        fail("`%s` has neither sequence.onnx nor step.onnx", folder);
    if (!total) total = 1;
    const size_t only = whole->session ? whole->only / whole->hop : 0; /* hops of every call */
    if (whole->session && (!only || only == total))
        differs |= report("sequence.onnx, whole", replay(&sequence, total, feedback), tolerance);
    const bool whole_only = whole->session && whole->divisible && !strcmp(whole->divisible, "no");
    if (whole->session && !strcmp(whole->carry, "yes") && !whole_only)
        differs |= report("sequence.onnx, by chunks", replay(&sequence, only, feedback), tolerance);
    if (one->session)
        differs |= report("step.onnx, by steps", replay(&step, 1, feedback), tolerance);
    if (whole->session) close_graph(whole);
    if (one->session) close_graph(one);
    ort->ReleaseEnv(env);
    return differs;
}
