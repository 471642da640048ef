/* A program of one's own over the C core: it feeds a chunk of numbers from standard input, and goes on
 * where its last run stopped.
 *
 *     resume ARTIFACT STATE < numbers.txt
 *
 * The model takes one float32 input, (batch, steps, features). STATE is a file for the stream between
 * two runs; it need not be there before the first. Prints the outputs of the chunk, a number a line. */
#include <edgernn.h>

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 65536 }; /* numbers of a chunk, bytes of a snapshot */

static edgernn_error error;

static void check(edgernn_status status) {
    if (!status) return;
    fprintf(stderr, "resume: %s\n", error.message);
    exit(2);
}

/* Restore the stream from a file, if that is there. */
static void restore(edgernn_stream *stream, const char *path) {
    static unsigned char snapshot[MOST];
    FILE *file = fopen(path, "rb");
    if (!file) return;
    const size_t size = fread(snapshot, 1, MOST, file);
    fclose(file);
    check(edgernn_restore(stream, snapshot, size, &error));
}

/* Write the stream to a file. */
static void save(const edgernn_stream *stream, const char *path) {
    static unsigned char snapshot[MOST];
    const size_t size = edgernn_snapshot_size(stream);
    check(edgernn_snapshot(stream, snapshot, MOST, &error));
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(snapshot, 1, size, file) != size || fclose(file)) {
        fprintf(stderr, "resume: `%s` cannot be written\n", path);
        exit(2);
    }
}

int main(int count, char **arguments) {
    static float numbers[MOST];
    edgernn_model *model;
    edgernn_stream *stream;
    const edgernn_tensor *outputs;
    size_t read = 0, output_count;
    if (count != 3) {
        fprintf(stderr, "usage: resume ARTIFACT STATE < numbers.txt\n");
        return 2;
    }
    check(edgernn_open(arguments[1], NULL, &model, &error));
    check(edgernn_stream_open(model, 1, &stream, &error));
    restore(stream, arguments[2]);
    while (read < MOST && scanf("%f", &numbers[read]) == 1) read++;

    const edgernn_port *port = edgernn_input(model, EDGERNN_SEQUENCE, 0);
    const int64_t features = port && port->rank == 3 && port->shape[2] > 0 ? port->shape[2] : 1;
    const int64_t shape[] = {1, (int64_t)read / features, features};
    const edgernn_tensor input = {NULL, EDGERNN_FLOAT32, 3, shape, numbers};
    check(edgernn_feed(stream, &input, 1, &outputs, &output_count, &error));
    for (size_t i = 0; i < output_count; i++) {
        size_t size = 1;
        for (size_t axis = 0; axis < outputs[i].rank; axis++) size *= (size_t)outputs[i].shape[axis];
        for (size_t j = 0; outputs[i].data && outputs[i].dtype == EDGERNN_FLOAT32 && j < size; j++)
            printf("%.9g\n", (double)((const float *)outputs[i].data)[j]);
    }
    save(stream, arguments[2]);
    edgernn_stream_close(stream);
    edgernn_close(model);
    return 0;
}
