/* Run an artifact on numbers from standard input, one step per line; one hop, where a call takes
 * several steps.
 *
 *     step LIBONNXRUNTIME ARTIFACT < numbers.csv
 *
 * A line has the values of one step, separated by commas or white space: those of each data input
 * in the order of the graph; of a constant batch, those of all its sequences. Each line is answered
 * at once by a line of the outputs, separated by commas; a value that is not defined yet (the delay
 * of its output) is left empty. The state goes from each line to the next;
 * an empty line starts a new sequence, and is answered by an empty line.
 *
 * Nothing about the model is written here: its ports, states and initial values are read from the
 * graph (graph.h). Exit status: 0 at the end of the input, 2 at a line that is not one step, with
 * the outputs of all lines before it written. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define fail(...) (fprintf(stderr, "step: " __VA_ARGS__), fputc('\n', stderr), exit(2))
#include "graph.h"

static const char BLANK[] = " \t\r\n\v\f";

static Graph graph;
/* Of each port, the tensor that every call reads or writes in place. A state has one at its input
 * and one at its output; they swap after each call. */
static OrtValue *values[MAX_PORTS];
static char *data[MAX_PORTS], *initial[MAX_PORTS]; /* initial is NULL for other ports than states */
static size_t elements[MAX_PORTS];
static size_t hops; /* of the sequence so far, those of the last run() too */
static char takes[MAX_PATH]; /* the values of a line, for messages: 3 of `x`, 1 of `ids` */

/* Return what a line is. */
static const char *call(void) {
    return graph.hop > 1 ? "hop" : "step";
}

static void *allocate(size_t count, size_t width) {
    void *memory = calloc(count + 1, width);
    if (!memory) fail("there is no memory for %zu elements", count);
    return memory;
}

/* Return whether a line has values for an input. */
static bool is_read(const Port *port) {
    return !port->state && !port->counts;
}

/* Return the size of an axis for one step of one sequence, or of the constant batch. */
static int64_t size_of(const Port *port, size_t axis) {
    const char *name = port->axes[axis];
    if (port->shape[axis] >= 0) return port->shape[axis];
    if (strcmp(name, "batch") && strcmp(name, "sequence") && strcmp(name, "batch*sequence") &&
        strcmp(name, "sequence*batch"))
        fail("axis `%s` of `%s` has any size, but a line has a constant number of values", name,
             port->name);
    if (number(&graph, "least", name) > 1)
        fail("`%s` is at least %zu, but a line is one", name, number(&graph, "least", name));
    return 1;
}

/* Make the tensor of a port, and of a state input its initial value. */
static void make_tensor(const OrtMemoryInfo *memory, size_t place) {
    const Port *port = &graph.ports[place];
    int64_t shape[MAX_RANK];
    elements[place] = 1;
    for (size_t axis = 0; axis < port->rank; axis++)
        elements[place] *= (size_t)(shape[axis] = size_of(port, axis));
    data[place] = allocate(elements[place], port->width);
    check(ort->CreateTensorWithDataAsOrtValue(memory, data[place], elements[place] * port->width,
                                              shape, port->rank, port->type, &values[place]));
    if (port->next) {
        initial[place] = allocate(elements[place], port->width);
        write_initial(&graph, port, shape, initial[place]);
    }
    const int64_t steps = (int64_t)graph.hop;
    for (size_t i = 0; port->counts && i < elements[place]; i++)
        memcpy(data[place] + i * port->width, &steps, port->width); /* its first bytes */
}

/* Return whether this program parses and prints the elements of a port. */
static bool is_known(const Port *port) {
    static const ONNXTensorElementDataType known[] = {
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (port->type == known[i]) return true;
    return false;
}

/* Open the step graph, or the sequence graph for calls of one step. */
static void prepare(const char *folder) {
    OrtMemoryInfo *memory;
    const bool has_step = open_graph(&graph, folder, "step.onnx");
    if (!has_step && !open_graph(&graph, folder, "sequence.onnx"))
        fail("`%s` has neither step.onnx nor sequence.onnx", folder);
    if (strcmp(graph.carry, "yes"))
        fail("`%s` has no step: its state does not carry on, so it needs whole sequences", folder);
    if (graph.divisible && !strcmp(graph.divisible, "no"))
        fail("`%s` has no step: it keeps memory from call to call, and other calls than the model's "
             "give other numbers", folder);
    if (!has_step && graph.hop > 1)
        fail("`%s` takes hops of %zu steps, which need step.onnx. Export it with a step graph",
             folder, graph.hop);
    if (graph.only > 1 || graph.least > 1)
        fail("`%s` takes at least %zu steps in a call, but a line is one. Export it with a step "
             "graph", folder, graph.only > graph.least ? graph.only : graph.least);
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    for (size_t i = 0, end = 0; i < graph.count; i++) {
        const Port *port = &graph.ports[i];
        if (!port->state && !is_known(port))
            fail("`%s` is %s; step takes float32, float64, int64, int32 and bool", port->name,
                 types[port->type].name);
        make_tensor(memory, i);
        if (i < graph.inputs && is_read(port) && end < sizeof takes)
            end += (size_t)snprintf(takes + end, sizeof takes - end, "%s%zu of `%s`",
                                    end ? ", " : "", elements[i], port->name);
    }
    ort->ReleaseMemoryInfo(memory);
}

/* Parse a value into an element of a port; return whether it is one that the port takes. */
static bool parse(const Port *port, const char *text, char *element) {
    char *end;
    errno = 0;
    if (port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ||
        port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE) {
        const double real = strtod(text, &end);
        const bool single = port->width == sizeof(float);
        if (end == text || *end || !isfinite(real)) return false;
        if (single && fabs(real) > FLT_MAX) return false;
        const float rounded = single ? (float)real : 0;
        memcpy(element, single ? (const void *)&rounded : &real, port->width);
        return true;
    }
    const int64_t integer = strtoll(text, &end, 10);
    const bool is_bool = port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
    const int64_t least = is_bool || port->limit ? 0 : port->width == 4 ? INT32_MIN : INT64_MIN;
    const int64_t most = is_bool ? 1 : port->limit ? (int64_t)port->limit - 1
                         : port->width == 4 ? INT32_MAX : INT64_MAX;
    if (end == text || *end || errno || integer < least || integer > most) return false;
    memcpy(element, &integer, port->width); /* the first bytes of a little-endian number */
    return true;
}

/* Refuse a value that a port does not take. */
static void refuse(const Port *port, size_t line, size_t place, const char *text) {
    char what[64];
    snprintf(what, sizeof what, "numbers of type %s", types[port->type].name);
    if (port->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL) snprintf(what, sizeof what, "0 or 1");
    if (port->limit) snprintf(what, sizeof what, "ids from 0 to %zu", port->limit - 1);
    fail("value %zu of line %zu is `%s`, but `%s` takes %s. Give finite numbers, separated by "
         "commas or white space", place, line, text, port->name, what);
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

/* Read the values of a line into the data inputs. */
static void read_values(char *text, size_t line) {
    size_t count = 0, length = strlen(text);
    char *value;
    while (length && strchr(BLANK, text[length - 1])) length--;
    if (length && text[length - 1] == ',') fail("line %zu ends with a comma, not a value", line);
    for (size_t i = 0; i < graph.inputs; i++) {
        const Port *port = &graph.ports[i];
        for (size_t j = 0; is_read(port) && j < elements[i]; j++) {
            if (!(value = next_value(&text)))
                fail("line %zu has %zu values, but a %s takes %s", line, count, call(), takes);
            count++;
            if (!parse(port, value, data[i] + j * port->width)) refuse(port, line, count, value);
        }
    }
    if (next_value(&text))
        fail("line %zu has more than %zu values, but a %s takes %s", line, count, call(), takes);
}

/* Start a new sequence. */
static void reset(void) {
    for (size_t i = 0; i < graph.inputs; i++)
        if (initial[i]) memcpy(data[i], initial[i], elements[i] * graph.ports[i].width);
    hops = 0;
}

/* Run one step; the next one starts from the state that this one leaves. A state that counts the
 * hops has a limit where a table of positions ends. */
static void run(void) {
    for (size_t i = 0; i < graph.inputs; i++) {
        const Port *port = &graph.ports[i];
        const int64_t *counts = (const int64_t *)(const void *)data[i];
        for (size_t j = 0; port->state && port->limit && port->width == 8 && j < elements[i]; j++)
            if (counts[j] >= (int64_t)port->limit)
                fail("a sequence has at most %zu %ss, where the positions of `%s` end. Start a new "
                     "one with an empty line", port->limit, call(), port->name);
    }
    check(ort->Run(graph.session, NULL, graph.names, (const OrtValue *const *)values, graph.inputs,
                   graph.names + graph.inputs, graph.count - graph.inputs, values + graph.inputs));
    for (size_t i = 0; i < graph.inputs; i++) {
        const size_t next = graph.ports[i].next;
        if (!next) continue;
        OrtValue *value = values[i];
        char *memory = data[i];
        values[i] = values[next], values[next] = value;
        data[i] = data[next], data[next] = memory;
    }
    hops++;
}

static void write_element(const Port *port, const char *element) {
    union {
        float single;
        double real;
        int64_t integer;
        int32_t small;
        char boolean;
    } number;
    memcpy(&number, element, port->width);
    switch (port->type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: printf("%.9g", (double)number.single); break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE: printf("%.17g", number.real); break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: printf("%lld", (long long)number.integer); break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: printf("%ld", (long)number.small); break;
    default: printf("%d", number.boolean);
    }
}

/* Return whether an element of an output is of a step that is defined. */
static bool is_defined(const Port *port, size_t element) {
    size_t rows = 1, inner = 1; /* steps in a hop, and elements from one to the next */
    for (size_t axis = port->rank; axis-- > 0 && rows == 1;)
        if (!strcmp(port->axes[axis], "hop")) rows = (size_t)port->shape[axis];
        else inner *= (size_t)size_of(port, axis);
    return (hops - 1) * rows + element / inner % rows >= port->delay;
}

static void write_outputs(void) {
    const char *separator = "";
    for (size_t i = graph.inputs; i < graph.count; i++)
        for (size_t j = 0; !graph.ports[i].state && j < elements[i]; j++, separator = ",") {
            fputs(separator, stdout);
            if (is_defined(&graph.ports[i], j))
                write_element(&graph.ports[i], data[i] + j * graph.ports[i].width);
        }
}

static void close_all(void) {
    for (size_t i = 0; i < graph.count; i++) {
        ort->ReleaseValue(values[i]);
        free(data[i]);
        free(initial[i]);
    }
    close_graph(&graph);
    ort->ReleaseEnv(env);
}

int main(int count, char **arguments) {
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length;
    if (count != 3) fail("usage: step LIBONNXRUNTIME ARTIFACT < numbers.csv");
    start_onnxruntime(arguments[1]);
    prepare(arguments[2]);
    reset();
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "A line is a %s: %s. An empty line starts a new sequence.\n",
                call(), takes);
    for (size_t line = 1; (length = getline(&text, &capacity, stdin)) >= 0; line++) {
        if (strlen(text) != (size_t)length) fail("line %zu has a NUL byte. Give text", line);
        if (!text[strspn(text, BLANK)]) {
            reset();
        } else {
            read_values(text, line);
            run();
            write_outputs();
        }
        putchar('\n');
        if (fflush(stdout)) fail("the outputs cannot be written: %s", strerror(errno));
    }
    if (ferror(stdin)) fail("standard input cannot be read: %s", strerror(errno));
    free(text);
    close_all();
    return 0;
}
