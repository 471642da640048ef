/* Run the model.
 *
 *     app [ARTIFACT]                       replay the golden run, and time a step
 *     app step [ARTIFACT] < numbers.csv    read numbers, one step a line, or one hop
 *
 * ARTIFACT is `model.edgernn` beside the program where it is not given. A line has the values of one
 * step, separated by commas or white space: those of each data input in the order of the graph; of a
 * constant batch, those of all its sequences. It is answered at once by a line of the outputs,
 * separated by commas; a value that is not defined yet is left empty. The state goes from each line to
 * the next; an empty line starts a new sequence, and is answered by an empty line.
 *
 * Exit status: 0; 1 where the golden run differs; 2 at an error, as a line that is not one step, with
 * the outputs of all lines before it written. */
#include "edgernn.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
static const char SEPARATORS[] = "/\\";
#else
static const char SEPARATORS[] = "/";
#endif

static const double TOLERANCE = 1e-5; /* edgernn embed: tolerance */

enum { MOST_INPUTS = 64, MOST_AXES = 32, WARM_UP = 50, TIMED = 2000 };

static const char BLANK[] = " \t\r\n\v\f";

static edgernn_model *model;
static edgernn_stream *stream;
static edgernn_error error;
static const edgernn_port *ports[MOST_INPUTS]; /* of each data input */
static edgernn_tensor inputs[MOST_INPUTS];
static int64_t shapes[MOST_INPUTS][MOST_AXES];
static char *data[MOST_INPUTS];
static size_t elements[MOST_INPUTS], input_count, value_count, batch = 1;

#define fail(...) (fprintf(stderr, "app: " __VA_ARGS__), fputc('\n', stderr), exit(2))

static void check(edgernn_status status) {
    if (status) fail("%s", error.message);
}

static size_t width_of(int32_t dtype) {
    switch (dtype) {
    case EDGERNN_INT64:
    case EDGERNN_FLOAT64: return 8;
    case EDGERNN_FLOAT32:
    case EDGERNN_INT32: return 4;
    case EDGERNN_BOOL: return 1;
    default: return 0;
    }
}

/* Return the size of an axis in one step. */
static int64_t size_of(const edgernn_port *port, size_t axis) {
    const char *name = port->axes[axis];
    if (!strcmp(name, "sequence")) return (int64_t)edgernn_hop(model);
    if (port->shape[axis] >= 0) return port->shape[axis];
    if (!strcmp(name, "batch")) return (int64_t)batch;
    fail("axis `%s` of `%s` has any size, but a line has a constant number of values", name, port->name);
}

/* Return the graph that runs a step. */
static edgernn_graph step_graph(void) {
    return edgernn_has_graph(model, EDGERNN_STEP) ? EDGERNN_STEP : EDGERNN_SEQUENCE;
}

/* Return a data input of a type that is not read here, NULL where there is none. */
static const edgernn_port *unread_input(void) {
    for (size_t i = 0; i < edgernn_input_count(model, step_graph()); i++) {
        const edgernn_port *port = edgernn_input(model, step_graph(), i);
        if (!port->is_state && !port->is_lengths && !width_of(port->dtype)) return port;
    }
    return NULL;
}

/* Make the tensors that each step reads, and open a stream. */
static void prepare(void) {
    const edgernn_graph graph = step_graph();
    if (unread_input())
        fail("`%s` is of a type that is not read here; float32, float64, int64, int32 and bool are",
             unread_input()->name);
    for (size_t i = 0; i < edgernn_input_count(model, graph); i++) { /* a constant batch */
        const edgernn_port *port = edgernn_input(model, graph, i);
        for (size_t axis = 0; axis < port->rank; axis++)
            if (!strcmp(port->axes[axis], "batch") && port->shape[axis] > 0)
                batch = (size_t)port->shape[axis];
    }
    for (size_t i = 0; i < edgernn_input_count(model, graph); i++) {
        const edgernn_port *port = edgernn_input(model, graph, i);
        size_t rank = 0, count = 1;
        if (port->is_state || port->is_lengths) continue;
        if (input_count == MOST_INPUTS) fail("the model has more than %d inputs", (int)MOST_INPUTS);
        for (size_t axis = 0; axis < port->rank; axis++) {
            const int64_t size = size_of(port, axis);
            const bool is_step = !strcmp(port->axes[axis], "sequence") && edgernn_hop(model) == 1;
            if (!is_step) shapes[input_count][rank++] = size; /* a step has no such axis */
            count *= (size_t)size;
        }
        if (!(data[input_count] = calloc(count + 1, width_of(port->dtype)))) fail("there is no memory");
        const edgernn_tensor input = {port->name, port->dtype, rank, shapes[input_count], data[input_count]};
        ports[input_count] = port;
        elements[input_count] = count;
        inputs[input_count++] = input;
        value_count += count;
    }
    check(edgernn_stream_open(model, batch, &stream, &error));
}

/* ---- The golden run ---- */

/* Print one difference; return whether it is as it must be. NaN does not apply. */
static bool report(const char *way, double difference, double limit, bool must_agree) {
    const bool right = (difference <= limit) == must_agree;
    if (isnan(difference)) return true;
    printf("%-14s max difference %.1e%s\n", way, difference, right ? "" : ", WRONG");
    return right;
}

static bool check_golden(void) {
    edgernn_differences found;
    check(edgernn_check(model, NULL, &found, &error));
    bool agrees = report("whole", found.whole, TOLERANCE, true);
    agrees &= report("by chunks", found.chunks, TOLERANCE, true);
    agrees &= report("by steps", found.steps, TOLERANCE, true);
    agrees &= report("without state", found.without_state, fmax(found.chunks, found.steps), false);
    printf("The model %s its golden run; the tolerance is %.0e.\n",
           agrees ? "reproduces" : "DIFFERS from", TOLERANCE);
    return agrees;
}

static double seconds(void) {
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare(const void *one, const void *other) {
    const double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Print the median time of a step; nothing for a model that takes no steps. */
static void time_steps(void) {
    static double times[TIMED];
    prepare();
    for (int i = -WARM_UP; i < TIMED; i++) {
        if (edgernn_steps(stream) >= 30 * edgernn_hop(model)) edgernn_reset(stream);
        const double start = seconds();
        if (edgernn_step(stream, inputs, input_count, NULL, NULL, NULL)) return;
        if (i >= 0) times[i] = seconds() - start;
    }
    qsort(times, TIMED, sizeof *times, compare);
    printf("%-14s %.1f µs per step\n", "time", 1e6 * times[TIMED / 2]);
}

/* ---- Lines of numbers ---- */

/* Parse a value into an element of a port; return whether it is one that the port takes. */
static bool parse(const edgernn_port *port, const char *text, char *element) {
    const size_t width = width_of(port->dtype);
    char *end;
    errno = 0;
    if (port->dtype == EDGERNN_FLOAT32 || port->dtype == EDGERNN_FLOAT64) {
        const double real = strtod(text, &end);
        const bool is_single = port->dtype == EDGERNN_FLOAT32;
        if (end == text || *end || !isfinite(real) || (is_single && fabs(real) > (double)FLT_MAX))
            return false;
        const float single = is_single ? (float)real : 0;
        memcpy(element, is_single ? (const void *)&single : &real, width);
        return true;
    }
    const int64_t integer = strtoll(text, &end, 10);
    const bool is_bool = port->dtype == EDGERNN_BOOL, is_int32 = port->dtype == EDGERNN_INT32;
    const int64_t least = is_bool || port->limit ? 0 : is_int32 ? INT32_MIN : INT64_MIN;
    const int64_t most = is_bool ? 1 : port->limit ? port->limit - 1 : is_int32 ? INT32_MAX : INT64_MAX;
    if (end == text || *end || errno || integer < least || integer > most) return false;
    const int32_t small = (int32_t)integer;
    const bool truth = integer != 0;
    memcpy(element, is_bool ? (const void *)&truth : is_int32 ? (const void *)&small : &integer, width);
    return true;
}

/* Refuse a value that a port does not take. */
static void refuse(const edgernn_port *port, size_t line, size_t place, const char *text) {
    char takes[64] = "numbers";
    if (port->dtype == EDGERNN_INT64 || port->dtype == EDGERNN_INT32) snprintf(takes, sizeof takes, "integers");
    if (port->dtype == EDGERNN_BOOL) snprintf(takes, sizeof takes, "0 or 1");
    if (port->limit) snprintf(takes, sizeof takes, "ids from 0 to %" PRId64, port->limit - 1);
    fail("value %zu of line %zu is `%s`, but `%s` takes %s. Give finite numbers, separated by commas or "
         "white space", place, line, text, port->name, takes);
}

/* Return the next value of a line, empty before a comma, and move on; NULL at the end. */
static char *next_value(char **line) {
    char *start = *line + strspn(*line, BLANK);
    if (!*start) return NULL;
    char *end = start + strcspn(start, " \t\r\n\v\f,");
    *line = end + strspn(end, BLANK);
    *line += **line == ',';
    *end = 0;
    return start;
}

/* Read the values of a line into the inputs. */
static void read_values(char *text, size_t line) {
    const char *unit = edgernn_hop(model) > 1 ? "hop" : "step";
    size_t count = 0, length = strlen(text);
    char *value;
    while (length && strchr(BLANK, text[length - 1])) length--;
    if (length && text[length - 1] == ',') fail("line %zu ends with a comma, not a value", line);
    for (size_t i = 0; i < input_count; i++)
        for (size_t j = 0; j < elements[i]; j++) {
            if (!(value = next_value(&text)))
                fail("line %zu has %zu values, but a %s takes %zu", line, count, unit, value_count);
            count++;
            if (!parse(ports[i], value, data[i] + j * width_of(ports[i]->dtype)))
                refuse(ports[i], line, count, value);
        }
    if (next_value(&text))
        fail("line %zu has more than the %zu values that a %s takes", line, value_count, unit);
}

static void write_element(int32_t dtype, const void *values, size_t place) {
    switch (dtype) {
    case EDGERNN_FLOAT32: printf("%.9g", (double)((const float *)values)[place]); break;
    case EDGERNN_FLOAT64: printf("%.17g", ((const double *)values)[place]); break;
    case EDGERNN_INT64: printf("%" PRId64, ((const int64_t *)values)[place]); break;
    case EDGERNN_INT32: printf("%" PRId32, ((const int32_t *)values)[place]); break;
    case EDGERNN_BOOL: printf("%d", ((const bool *)values)[place]); break;
    default: fail("an output is of a type that is not written here");
    }
}

/* Return how many steps of a hop an output lacks, which come before those that it has, and write how
 * many rows of steps it has and how many elements a step. */
static size_t count_missing(const edgernn_tensor *output, size_t *rows, size_t *inner) {
    const edgernn_port *port = NULL;
    size_t missing = 0;
    for (size_t i = 0; i < edgernn_output_count(model, EDGERNN_STEP); i++)
        if (!strcmp(edgernn_output(model, EDGERNN_STEP, i)->name, output->name))
            port = edgernn_output(model, EDGERNN_STEP, i);
    *rows = *inner = 1;
    for (size_t axis = 0; axis < output->rank; axis++) {
        if (port && !strcmp(port->axes[axis], "hop")) {
            missing = (size_t)(port->shape[axis] - output->shape[axis]);
            *rows = *inner;
            *inner = 1;
        } else {
            *inner *= (size_t)output->shape[axis];
        }
    }
    return missing;
}

static void write_outputs(const edgernn_tensor *outputs, size_t count) {
    const char *separator = "";
    for (size_t i = 0; i < count; i++) {
        size_t size = 1, rows, inner;
        const size_t missing = count_missing(&outputs[i], &rows, &inner) * inner;
        for (size_t axis = 0; axis < outputs[i].rank; axis++) size *= (size_t)outputs[i].shape[axis];
        for (size_t row = 0; row < rows; row++) {
            for (size_t j = 0; j < missing; j++, separator = ",") fputs(separator, stdout);
            for (size_t j = row * (size / rows); j < (row + 1) * (size / rows); j++, separator = ",") {
                fputs(separator, stdout);
                if (outputs[i].data) write_element(outputs[i].dtype, outputs[i].data, j);
            }
        }
    }
    putchar('\n');
}

/* Read a line of any length without its end into *text; return whether there was one. */
static bool read_line(char **text, size_t *capacity, size_t number) {
    size_t size = 0;
    int character;
    while ((character = getchar()) != EOF && character != '\n') {
        if (!character) fail("line %zu has a NUL byte. Give text", number);
        if (size + 1 >= *capacity) {
            char *larger = realloc(*text, *capacity = 2 * *capacity + 256);
            if (!larger) fail("there is no memory for line %zu", number);
            *text = larger;
        }
        (*text)[size++] = (char)character;
    }
    if (ferror(stdin)) fail("standard input cannot be read: %s", strerror(errno));
    if (!size && character == EOF) return false;
    if (!*text && !(*text = calloc(1, *capacity = 256))) fail("there is no memory for line %zu", number);
    (*text)[size] = 0;
    return true;
}

/* Answer each line of standard input. */
static void run_lines(void) {
    char *text = NULL;
    size_t capacity = 0, count = 0;
    const edgernn_tensor *outputs = NULL;
    prepare();
    for (size_t line = 1; read_line(&text, &capacity, line); line++) {
        if (!text[strspn(text, BLANK)]) {
            edgernn_reset(stream);
            putchar('\n');
        } else {
            read_values(text, line);
            check(edgernn_step(stream, inputs, input_count, &outputs, &count, &error));
            write_outputs(outputs, count);
        }
        if (fflush(stdout)) fail("the outputs cannot be written: %s", strerror(errno));
    }
    free(text);
}

/* ---- The program ---- */

/* Open an artifact, by default the one beside this program. */
static void open_artifact(const char *program, const char *artifact) {
    size_t folder = 0;
    for (size_t i = 0; program[i]; i++)
        if (strchr(SEPARATORS, program[i])) folder = i + 1;
    char *path = calloc(1, folder + sizeof "model.edgernn");
    if (!path) fail("there is no memory");
    memcpy(path, program, folder);
    memcpy(path + folder, "model.edgernn", sizeof "model.edgernn");
    check(edgernn_open(artifact ? artifact : path, NULL, &model, &error));
    free(path);
}

int main(int count, char **arguments) {
    const bool steps = count > 1 && !strcmp(arguments[1], "step");
    bool passed = true;
    if (count > 2 + steps) fail("usage: app [step] [ARTIFACT]");
    open_artifact(arguments[0], count > 1 + steps ? arguments[1 + steps] : NULL);
    if (steps) run_lines();
    else if ((passed = check_golden()) && edgernn_carries(model) && !unread_input()) time_steps();
    edgernn_stream_close(stream);
    edgernn_close(model);
    for (size_t i = 0; i < input_count; i++) free(data[i]);
    return passed ? 0 : 1;
}
