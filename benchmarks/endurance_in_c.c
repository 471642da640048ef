/* Run many steps of an artifact in the C core, and report time, memory and allocations.
 *
 *     endurance_in_c ARTIFACT STEPS
 *
 * Linked with --wrap=malloc, --wrap=calloc and --wrap=realloc, so that the allocations of the core are
 * counted and those of ONNX Runtime's library are not. Prints a line: steps, the core's allocations
 * after the first step, resident KiB after a tenth of the steps and at the end, and the median, the
 * 99th percentile and the longest of the steps in µs. Each thousandth step starts a new sequence. */
#define _POSIX_C_SOURCE 200809L
#include <edgernn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_INPUTS = 16, MOST_RANK = 8, SEQUENCE_STEPS = 1000, LONGEST_US = 20000 };

static unsigned long allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size) {
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    allocations++;
    return __real_realloc(memory, size);
}

static void fail(const char *message) {
    fprintf(stderr, "endurance_in_c: %s\n", message);
    exit(2);
}

/* Return the resident memory in KiB. */
static long resident(void) {
    char line[256];
    long size = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "VmRSS:", 6)) size = strtol(line + 6, NULL, 10);
    if (file) fclose(file);
    return size;
}

static double microseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e6 * (double)time.tv_sec + 1e-3 * (double)time.tv_nsec;
}

/* Make zeros for the data inputs of a step of one sequence. */
static size_t make_inputs(const edgernn_model *model, edgernn_tensor *inputs) {
    static int64_t shapes[MOST_INPUTS][MOST_RANK];
    static int64_t zeros[65536];
    size_t count = 0;
    for (size_t i = 0; i < edgernn_input_count(model, EDGERNN_STEP); i++) {
        const edgernn_port *port = edgernn_input(model, EDGERNN_STEP, i);
        if (port->is_state || count == MOST_INPUTS || port->rank > MOST_RANK) continue;
        for (size_t axis = 0; axis < port->rank; axis++)
            shapes[count][axis] = port->shape[axis] < 0 ? 1 : port->shape[axis];
        const edgernn_tensor input = {port->name, port->dtype, port->rank, shapes[count], zeros};
        inputs[count++] = input;
    }
    return count;
}

int main(int count, char **arguments) {
    static unsigned long histogram[LONGEST_US * 10]; /* steps by tenths of a µs */
    edgernn_tensor inputs[MOST_INPUTS];
    edgernn_model *model;
    edgernn_stream *stream;
    edgernn_error error;
    double longest = 0;
    long early = 0;
    if (count != 3) fail("usage: endurance_in_c ARTIFACT STEPS");
    const unsigned long steps = strtoul(arguments[2], NULL, 10);
    if (edgernn_open(arguments[1], NULL, &model, &error)) fail(error.message);
    if (edgernn_stream_open(model, 1, &stream, &error)) fail(error.message);
    const size_t given = make_inputs(model, inputs);
    memset(histogram, 0, sizeof histogram); /* its pages are resident from here on */
    for (unsigned long i = 0; i < steps; i++) {
        if (i % SEQUENCE_STEPS == 0) edgernn_reset(stream);
        const double start = microseconds();
        if (edgernn_step(stream, inputs, given, NULL, NULL, &error)) fail(error.message);
        const double taken = microseconds() - start;
        if (taken > longest) longest = taken;
        histogram[taken < LONGEST_US - 1 ? (size_t)(10 * taken) : LONGEST_US * 10 - 1]++;
        if (!i) allocations = 0;
        if (i == steps / 10) early = resident();
    }
    const unsigned long made = allocations;
    const long late = resident();
    double median = 0, late_step = 0;
    unsigned long seen = 0;
    for (size_t i = 0; i < LONGEST_US * 10; i++) {
        seen += histogram[i];
        if (!(median > 0) && 2 * seen >= steps) median = (double)i / 10 + 0.05;
        if (!(late_step > 0) && 100 * seen >= 99 * steps) late_step = (double)i / 10 + 0.05;
    }
    printf("%lu %lu %ld %ld %.2f %.2f %.2f\n", steps, made, early, late, median, late_step, longest);
    edgernn_stream_close(stream);
    edgernn_close(model);
    return 0;
}
