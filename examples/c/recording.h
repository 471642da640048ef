/* The golden run of an artifact: what was recorded of each port, in golden/PORT.npy. */
#ifndef RECORDING_H
#define RECORDING_H

#include "graph.h"
#include "npy.h"

typedef struct {
    Array run;                 /* its data being [outer][hops][inner bytes] */
    size_t outer, hops, inner; /* hops is 1 where there is no axis of steps */
    size_t rows;               /* along that axis in one hop; a hop is one step for most models */
    int axis;                   /* that of the steps, -1 without */
    bool squeezed;              /* whether the graph's port lacks that axis */
} Recording;

typedef struct {
    Graph graph;
    Recording recordings[MAX_PORTS]; /* of its ports */
} Recorded;

/* Find the axis of the steps in a recording. A step graph that stands alone names one only where a
 * hop has several steps: else its recording has the steps in front. In an axis that counts more
 * than steps, as `batch*sequence`, the first symbol is the outer one. Where the state does not
 * carry, an output may have any number of rows: it is compared whole. */
static inline void find_steps(Recording *recording, const Port *port, const Graph *graph,
                              bool alone, size_t *total) {
    const size_t hop = graph->hop;
    const char *symbol = "sequence";
    const Array *run = &recording->run;
    const bool in_front = alone && run->rank > (int)port->rank;
    recording->axis = in_front ? 0 : -1;
    for (int axis = 0; axis < (int)port->rank && recording->axis < 0; axis++)
        if (alone ? !strcmp(port->axes[axis], "hop") : !!strstr(port->axes[axis], "sequence"))
            symbol = port->axes[recording->axis = axis];
    size_t *const sizes[] = {&recording->outer, &recording->hops, &recording->inner};
    recording->outer = recording->hops = recording->rows = 1, recording->inner = run->width;
    for (int axis = 0; axis < run->rank; axis++)
        *sizes[axis < recording->axis ? 0 : axis > recording->axis ? 2 : 1] *=
            (size_t)run->shape[axis];
    if (recording->axis < 0) return;
    if (!*total) *total = recording->hops / (in_front ? 1 : hop);
    if (*total && recording->hops % *total && !strcmp(graph->carry, "no")) {
        recording->inner *= recording->outer * recording->hops;
        recording->outer = recording->hops = 1, recording->axis = -1;
        return;
    }
    if (!*total || recording->hops % *total)
        fail("`%s` has %zu rows, not as many in each hop of %zu steps", symbol, recording->hops,
             hop);
    recording->rows = recording->hops / *total;
    *sizes[strncmp(symbol, "batch", 5) ? 2 : 0] *= recording->rows;
    recording->hops = *total;
}

/* Read the recording of each port of a graph. Of a step graph, `whole` is the sequence graph, whose
 * recordings it shares. `total` is the number of hops of the run, 0 until a port tells. */
static inline void read_recordings(Recorded *recorded, Recorded *whole, const char *folder,
                                   size_t *total) {
    for (size_t i = 0; i < recorded->graph.count; i++) {
        const Port *port = &recorded->graph.ports[i], *known = NULL;
        Recording *recording = &recorded->recordings[i];
        char path[MAX_PATH];
        if (whole) known = find(whole->graph.ports, whole->graph.count, port->name);
        if (known) {
            *recording = whole->recordings[known - whole->graph.ports];
        } else {
            snprintf(path, sizeof path, "%s/golden/%s.npy", folder, port->name);
            recording->run = read_npy(path);
            find_steps(recording, port, &recorded->graph, whole != NULL, total);
        }
        recording->squeezed = (int)port->rank < recording->run.rank;
    }
}

/* Return a tensor of `size` hops of a recording from `start` on. */
static inline OrtValue *slice(const Recording *recording, const Port *port, size_t hop,
                              size_t start, size_t size) {
    const Array *run = &recording->run;
    const int64_t count = (int64_t)(size * hop);
    int64_t shape[MAX_AXES];
    size_t rank = 0;
    char *data;
    OrtValue *value;
    if (recording->axis < 0) start = 0, size = 1;
    for (int axis = 0; axis < run->rank; axis++)
        if (axis != recording->axis) shape[rank++] = run->shape[axis];
        else if (!recording->squeezed)
            shape[rank++] = run->shape[axis] / (int64_t)recording->hops * (int64_t)size;
    check(ort->CreateTensorAsOrtValue(allocator, shape, rank, run->type, &value));
    check(ort->GetTensorMutableData(value, (void **)&data));
    for (size_t row = 0; row < recording->outer; row++)
        memcpy(data + row * size * recording->inner,
               run->data + (row * recording->hops + start) * recording->inner,
               size * recording->inner);
    for (size_t at = 0; port->counts && at < recording->inner; at += run->width)
        memcpy(data + at, &count, run->width); /* the first bytes of a little-endian number */
    return value;
}

#endif
