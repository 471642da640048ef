/* Time one step of each graph in a program without Python: batch 1, one thread.
 *
 *     step_in_c LIBRARY ROUNDS GRAPH.onnx...
 *
 * The library is ONNX Runtime's. All inputs and outputs are float32; a state goes from NAME_out to
 * NAME_in, through two sets of buffers in turn. Rounds are interleaved. Prints one line per graph:
 * the median µs per step of the processor's time. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { API_VERSION = 12, MAX_PORTS = 16, MAX_RANK = 8 };

typedef struct {
    OrtSession *session;
    OrtIoBinding *bindings[2];
    float *x; /* the buffer of the first input */
    size_t size;
    double *times;
} Step;

static const OrtApi *ort;
static OrtAllocator *allocator;
static OrtMemoryInfo *memory;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "step_in_c: %s: %s\n", what, why);
    exit(1);
}

static void check(OrtStatus *status) {
    if (status) fail("ONNX Runtime", ort->GetErrorMessage(status));
}

/* Return a tensor of zeros in the shape of a port, with 1 for every dynamic axis. */
static OrtValue *tensor_of(OrtTypeInfo *type, float **data, size_t *size) {
    const OrtTensorTypeAndShapeInfo *info;
    int64_t shape[MAX_RANK];
    size_t rank;
    OrtValue *value;
    check(ort->CastTypeInfoToTensorInfo(type, &info));
    check(ort->GetDimensionsCount(info, &rank));
    if (rank > MAX_RANK) fail("a port", "too many axes");
    check(ort->GetDimensions(info, shape, rank));
    *size = 1;
    for (size_t axis = 0; axis < rank; axis++) {
        if (shape[axis] < 1) shape[axis] = 1;
        *size *= (size_t)shape[axis];
    }
    if (!(*data = calloc(*size, sizeof(float)))) fail("memory", "none is left");
    check(ort->CreateTensorWithDataAsOrtValue(memory, *data, *size * sizeof(float), shape, rank,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value));
    ort->ReleaseTypeInfo(type);
    return value;
}

static Step open_step(OrtEnv *env, const char *path, size_t rounds) {
    Step step = {0};
    OrtSessionOptions *options;
    OrtValue *before[MAX_PORTS], *after[MAX_PORTS];
    char *inputs[MAX_PORTS], *outputs[MAX_PORTS];
    size_t input_count, output_count, size;
    float *data;
    OrtTypeInfo *type;
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1));
    check(ort->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
    check(ort->CreateSession(env, path, options, &step.session));
    ort->ReleaseSessionOptions(options);
    check(ort->SessionGetInputCount(step.session, &input_count));
    check(ort->SessionGetOutputCount(step.session, &output_count));
    if (input_count > MAX_PORTS || output_count > MAX_PORTS) fail(path, "too many ports");
    for (size_t i = 0; i < input_count; i++) {
        check(ort->SessionGetInputName(step.session, i, allocator, &inputs[i]));
        check(ort->SessionGetInputTypeInfo(step.session, i, &type));
        before[i] = tensor_of(type, &data, &size);
        if (i == 0) step.x = data, step.size = size;
    }
    for (size_t i = 0; i < output_count; i++) {
        check(ort->SessionGetOutputName(step.session, i, allocator, &outputs[i]));
        check(ort->SessionGetOutputTypeInfo(step.session, i, &type));
        after[i] = tensor_of(type, &data, &size);
    }
    for (int side = 0; side < 2; side++) {
        check(ort->CreateIoBinding(step.session, &step.bindings[side]));
        for (size_t i = 0; i < input_count; i++)
            check(ort->BindInput(step.bindings[side], inputs[i], before[i]));
        for (size_t i = 0; i < output_count; i++)
            check(ort->BindOutput(step.bindings[side], outputs[i], after[i]));
        for (size_t i = 0; i < input_count; i++) /* the other side reads what this one writes */
            for (size_t k = 0; k < output_count; k++) {
                size_t stem = strlen(inputs[i]) < 3 ? 0 : strlen(inputs[i]) - 3;
                if (stem && !strcmp(inputs[i] + stem, "_in") &&
                    !strncmp(inputs[i], outputs[k], stem) && !strcmp(outputs[k] + stem, "_out")) {
                    OrtValue *value = before[i];
                    before[i] = after[k];
                    after[k] = value;
                }
            }
    }
    if (!(step.times = calloc(rounds, sizeof(double)))) fail("memory", "none is left");
    return step;
}

/* Run steps as a host does: write the input, run with the binding of this turn. */
static double seconds(Step *step, int count, const float *x) {
    struct timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (int t = 0; t < count; t++) {
        memcpy(step->x, x, step->size * sizeof(float));
        check(ort->RunWithBinding(step->session, NULL, step->bindings[t & 1]));
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    const OrtApiBase *(*base)(void) = NULL;
    OrtEnv *env;
    if (argc < 4) fail("usage", "step_in_c LIBRARY ROUNDS GRAPH.onnx...");
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library) *(void **)&base = dlsym(library, "OrtGetApiBase");
    if (!base) fail(argv[1], dlerror());
    if (!(ort = base()->GetApi(API_VERSION))) fail(argv[1], "it is older than 1.12");
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "step_in_c", &env));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    int rounds = atoi(argv[2]), count = argc - 3;
    if (rounds < 1) fail(argv[2], "expected a number of rounds");
    Step *steps = calloc((size_t)count, sizeof(Step));
    int *counts = calloc((size_t)count, sizeof(int));
    if (!steps || !counts) fail("memory", "none is left");
    size_t most = 0;
    for (int i = 0; i < count; i++) {
        steps[i] = open_step(env, argv[3 + i], (size_t)rounds);
        if (steps[i].size > most) most = steps[i].size;
    }
    float *x = calloc(most, sizeof(float));
    if (!x) fail("memory", "none is left");
    for (size_t i = 0; i < most; i++) x[i] = (float)(i % 7) / 7 - 0.5f;
    for (int i = 0; i < count; i++) { /* rounds of about 10 ms */
        double each = (seconds(&steps[i], 20, x), seconds(&steps[i], 100, x) / 100);
        counts[i] = each < 0.005 ? (int)(0.01 / each) : 2;
    }
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < count; i++)
            steps[i].times[round] = seconds(&steps[i], counts[i], x) / counts[i] * 1e6;
    for (int i = 0; i < count; i++) {
        qsort(steps[i].times, (size_t)rounds, sizeof(double), compare);
        printf("%.3f\n", steps[i].times[rounds / 2]);
    }
    return 0;
}
