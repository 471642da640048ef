/* Step several streams of one model in threads, each with the same data: all must give the same numbers.
 *
 *     threaded_streams ARTIFACT
 *
 * Built with ThreadSanitizer. */
#include <edgernn.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, STEPS = 200, MOST_INPUTS = 8, MOST_RANK = 8 };

static edgernn_model *model;
static double sums[THREADS];

static void *run(void *argument) {
    double *sum = argument;
    int64_t shapes[MOST_INPUTS][MOST_RANK];
    static const int64_t zeros[4096];
    edgernn_tensor inputs[MOST_INPUTS];
    edgernn_stream *stream = NULL;
    edgernn_error error;
    const edgernn_tensor *outputs;
    size_t count = 0, output_count;
    if (edgernn_stream_open(model, 1, &stream, &error)) return NULL;
    for (size_t i = 0; i < edgernn_input_count(model, EDGERNN_STEP) && count < MOST_INPUTS; i++) {
        const edgernn_port *port = edgernn_input(model, EDGERNN_STEP, i);
        if (port->is_state) continue;
        for (size_t axis = 0; axis < port->rank; axis++)
            shapes[count][axis] = port->shape[axis] < 0 ? 1 : port->shape[axis];
        const edgernn_tensor input = {port->name, port->dtype, port->rank, shapes[count], zeros};
        inputs[count++] = input;
    }
    for (int i = 0; i < STEPS; i++) {
        if (edgernn_step(stream, inputs, count, &outputs, &output_count, &error)) {
            fprintf(stderr, "%s\n", error.message);
            *sum = -1;
            break;
        }
        if (outputs[0].data && outputs[0].dtype == EDGERNN_FLOAT32)
            *sum += (double)*(const float *)outputs[0].data;
    }
    edgernn_stream_close(stream);
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t threads[THREADS];
    edgernn_error error;
    if (count != 2 || edgernn_open(arguments[1], NULL, &model, &error)) return 2;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run, &sums[i])) return 2;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    edgernn_close(model);
    for (int i = 0; i < THREADS; i++)
        if (memcmp(&sums[i], &sums[0], sizeof *sums) || !(sums[i] != 0)) return 1;
    puts("equal");
    return 0;
}
