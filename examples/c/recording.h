/* The golden run of an artifact: what was recorded of each port, in golden/PORT.npy. */
#ifndef RECORDING_H
#define RECORDING_H

#include "graph.h"
#include "npy.h"

typedef struct {
    Array run;                  /* its data being [outer][steps][inner bytes] */
    size_t outer, steps, inner; /* steps is 1 where there is no axis of steps */
    int axis;                   /* that of the steps, -1 without */
    bool squeezed;              /* whether the graph's port lacks that axis */
} Recording;

typedef struct {
    Graph graph;
    Recording recordings[MAX_PORTS]; /* of its ports */
} Recorded;

/* Find the axis of the steps in a recording. A step graph that stands alone names none: its
 * recording has the steps in front. In an axis that counts more than steps, as `batch*sequence`,
 * the first symbol is the outer one. */
static inline void find_steps(Recording *recording, const Port *port, bool alone, size_t *total) {
    const char *symbol = "sequence";
    const Array *run = &recording->run;
    recording->axis = alone && run->rank > (int)port->rank ? 0 : -1;
    for (int axis = 0; axis < (int)port->rank && !alone && recording->axis < 0; axis++)
        if (strstr(port->axes[axis], "sequence")) symbol = port->axes[recording->axis = axis];
    size_t *const sizes[] = {&recording->outer, &recording->steps, &recording->inner};
    recording->outer = recording->steps = 1, recording->inner = run->width;
    for (int axis = 0; axis < run->rank; axis++)
        *sizes[axis < recording->axis ? 0 : axis > recording->axis ? 2 : 1] *=
            (size_t)run->shape[axis];
    if (recording->axis < 0) return;
    if (!*total) *total = recording->steps;
    if (recording->steps % *total)
        fail("`%s` has %zu rows, not one per step", symbol, recording->steps);
    *sizes[strncmp(symbol, "sequence", 8) ? 0 : 2] *= recording->steps / *total;
    recording->steps = *total;
}

/* Read the recording of each port of a graph. Of a step graph, `whole` is the sequence graph, whose
 * recordings it shares. `total` is the number of steps of the run, 0 until a port tells. */
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
            find_steps(recording, port, whole != NULL, total);
        }
        recording->squeezed = (int)port->rank < recording->run.rank;
    }
}

/* Return a tensor of a recording's steps from `start` on. */
static inline OrtValue *slice(const Recording *recording, const Port *port, size_t start,
                              size_t size) {
    const Array *run = &recording->run;
    const int64_t count = (int64_t)size;
    int64_t shape[MAX_AXES];
    size_t rank = 0;
    char *data;
    OrtValue *value;
    if (recording->axis < 0) start = 0, size = 1;
    for (int axis = 0; axis < run->rank; axis++)
        if (axis != recording->axis) shape[rank++] = run->shape[axis];
        else if (!recording->squeezed)
            shape[rank++] = run->shape[axis] / (int64_t)recording->steps * count;
    check(ort->CreateTensorAsOrtValue(allocator, shape, rank, run->type, &value));
    check(ort->GetTensorMutableData(value, (void **)&data));
    for (size_t row = 0; row < recording->outer; row++)
        memcpy(data + row * size * recording->inner,
               run->data + (row * recording->steps + start) * recording->inner,
               size * recording->inner);
    for (size_t at = 0; port->counts && at < recording->inner; at += run->width)
        memcpy(data + at, &count, run->width); /* the first bytes of a little-endian number */
    return value;
}

#endif
