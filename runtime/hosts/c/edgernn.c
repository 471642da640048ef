/* The C core of edgernn's hosts: edgernn.h says what each function does.
 *
 * ONNX Runtime's library is loaded at run time, and the entries of its table of functions are taken
 * by their places, which no version changes. docs/contract.md has the rules that are kept here. */
#if !defined _WIN32 && !defined _GNU_SOURCE
#define _GNU_SOURCE /* dladdr */
#endif
#ifndef EDGERNN_BUILD
#define EDGERNN_BUILD
#endif
#include "edgernn.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#define ORT_CALL __stdcall
typedef wchar_t PathCharacter;
#else
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>
#define ORT_CALL
typedef char PathCharacter;
#endif
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#if defined _MSC_VER && !defined __clang__
typedef volatile LONG Count;
#define ADD_ONE(count) InterlockedIncrement(count)
#define TAKE_ONE(count) InterlockedDecrement(count) /* what is left */
#else
#include <stdatomic.h>
typedef atomic_long Count;
#define ADD_ONE(count) atomic_fetch_add_explicit(count, 1, memory_order_relaxed)
#define TAKE_ONE(count) (atomic_fetch_sub_explicit(count, 1, memory_order_acq_rel) - 1)
#endif

#if defined __GNUC__
#define LIKE_PRINTF(place, values) __attribute__((format(printf, place, values)))
#else
#define LIKE_PRINTF(place, values)
#endif

/* ---- ONNX Runtime's table of functions --------------------------------------------------------- */

#ifdef EDGERNN_ONNXRUNTIME_HEADER
#include EDGERNN_ONNXRUNTIME_HEADER
#else
typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtValue OrtValue;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtModelMetadata OrtModelMetadata;
typedef struct OrtCUDAProviderOptionsV2 OrtCUDAProviderOptionsV2;
typedef struct OrtTensorRTProviderOptionsV2 OrtTensorRTProviderOptionsV2;
#endif

enum { API_VERSION = 12, LOG_FATAL = 4, ARENA_ALLOCATOR = 1, DEFAULT_MEMORY = 0 };

/* Place in the table, name, result, arguments. */
#define FUNCTIONS(X)                                                                              \
    X(2, GetErrorMessage, const char *, (const OrtStatus *))                                      \
    X(3, CreateEnv, OrtStatus *, (int, const char *, OrtEnv **))                                  \
    X(7, CreateSession, OrtStatus *,                                                              \
      (const OrtEnv *, const PathCharacter *, const OrtSessionOptions *, OrtSession **))          \
    X(8, CreateSessionFromArray, OrtStatus *,                                                     \
      (const OrtEnv *, const void *, size_t, const OrtSessionOptions *, OrtSession **))           \
    X(9, Run, OrtStatus *,                                                                        \
      (OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t, \
       const char *const *, size_t, OrtValue **))                                                 \
    X(10, CreateSessionOptions, OrtStatus *, (OrtSessionOptions **))                              \
    X(17, DisableMemPattern, OrtStatus *, (OrtSessionOptions *))                                  \
    X(22, SetSessionLogSeverityLevel, OrtStatus *, (OrtSessionOptions *, int))                    \
    X(24, SetIntraOpNumThreads, OrtStatus *, (OrtSessionOptions *, int))                          \
    X(25, SetInterOpNumThreads, OrtStatus *, (OrtSessionOptions *, int))                          \
    X(30, SessionGetInputCount, OrtStatus *, (const OrtSession *, size_t *))                      \
    X(31, SessionGetOutputCount, OrtStatus *, (const OrtSession *, size_t *))                     \
    X(33, SessionGetInputTypeInfo, OrtStatus *, (const OrtSession *, size_t, OrtTypeInfo **))     \
    X(34, SessionGetOutputTypeInfo, OrtStatus *, (const OrtSession *, size_t, OrtTypeInfo **))    \
    X(36, SessionGetInputName, OrtStatus *,                                                       \
      (const OrtSession *, size_t, OrtAllocator *, char **))                                      \
    X(37, SessionGetOutputName, OrtStatus *,                                                      \
      (const OrtSession *, size_t, OrtAllocator *, char **))                                      \
    X(49, CreateTensorWithDataAsOrtValue, OrtStatus *,                                            \
      (const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int, OrtValue **))         \
    X(50, IsTensor, OrtStatus *, (const OrtValue *, int *))                                       \
    X(51, GetTensorMutableData, OrtStatus *, (OrtValue *, void **))                               \
    X(55, CastTypeInfoToTensorInfo, OrtStatus *,                                                  \
      (const OrtTypeInfo *, const OrtTensorTypeAndShapeInfo **))                                  \
    X(60, GetTensorElementType, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, int *))          \
    X(61, GetDimensionsCount, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, size_t *))         \
    X(62, GetDimensions, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, int64_t *, size_t))     \
    X(63, GetSymbolicDimensions, OrtStatus *,                                                     \
      (const OrtTensorTypeAndShapeInfo *, const char **, size_t))                                 \
    X(65, GetTensorTypeAndShape, OrtStatus *, (const OrtValue *, OrtTensorTypeAndShapeInfo **))   \
    X(69, CreateCpuMemoryInfo, OrtStatus *, (int, int, OrtMemoryInfo **))                         \
    X(76, AllocatorFree, OrtStatus *, (OrtAllocator *, void *))                                   \
    X(78, GetAllocatorWithDefaultOptions, OrtStatus *, (OrtAllocator **))                         \
    X(92, ReleaseEnv, void, (OrtEnv *))                                                           \
    X(93, ReleaseStatus, void, (OrtStatus *))                                                     \
    X(94, ReleaseMemoryInfo, void, (OrtMemoryInfo *))                                             \
    X(95, ReleaseSession, void, (OrtSession *))                                                   \
    X(96, ReleaseValue, void, (OrtValue *))                                                       \
    X(98, ReleaseTypeInfo, void, (OrtTypeInfo *))                                                 \
    X(99, ReleaseTensorTypeAndShapeInfo, void, (OrtTensorTypeAndShapeInfo *))                     \
    X(100, ReleaseSessionOptions, void, (OrtSessionOptions *))                                    \
    X(111, SessionGetModelMetadata, OrtStatus *, (const OrtSession *, OrtModelMetadata **))       \
    X(116, ModelMetadataLookupCustomMetadataMap, OrtStatus *,                                     \
      (const OrtModelMetadata *, OrtAllocator *, const char *, char **))                          \
    X(118, ReleaseModelMetadata, void, (OrtModelMetadata *))                                      \
    X(123, ModelMetadataGetCustomMetadataMapKeys, OrtStatus *,                                    \
      (const OrtModelMetadata *, OrtAllocator *, char ***, int64_t *))                            \
    X(125, GetAvailableProviders, OrtStatus *, (char ***, int *))                                 \
    X(126, ReleaseAvailableProviders, OrtStatus *, (char **, int))                                \
    X(130, AddSessionConfigEntry, OrtStatus *, (OrtSessionOptions *, const char *, const char *)) \
    X(170, SessionOptionsAppendExecutionProvider_TensorRT_V2, OrtStatus *,                        \
      (OrtSessionOptions *, const OrtTensorRTProviderOptionsV2 *))                                \
    X(171, CreateTensorRTProviderOptions, OrtStatus *, (OrtTensorRTProviderOptionsV2 **))         \
    X(172, UpdateTensorRTProviderOptions, OrtStatus *,                                            \
      (OrtTensorRTProviderOptionsV2 *, const char *const *, const char *const *, size_t))         \
    X(174, ReleaseTensorRTProviderOptions, void, (OrtTensorRTProviderOptionsV2 *))                \
    X(204, SessionOptionsAppendExecutionProvider_CUDA_V2, OrtStatus *,                            \
      (OrtSessionOptions *, const OrtCUDAProviderOptionsV2 *))                                    \
    X(205, CreateCUDAProviderOptions, OrtStatus *, (OrtCUDAProviderOptionsV2 **))                 \
    X(206, UpdateCUDAProviderOptions, OrtStatus *,                                                \
      (OrtCUDAProviderOptionsV2 *, const char *const *, const char *const *, size_t))             \
    X(208, ReleaseCUDAProviderOptions, void, (OrtCUDAProviderOptionsV2 *))                        \
    X(216, SessionOptionsAppendExecutionProvider, OrtStatus *,                                    \
      (OrtSessionOptions *, const char *, const char *const *, const char *const *, size_t))

typedef void(ORT_CALL *Function)(void);

#define DECLARE(place, name, result, arguments) result(ORT_CALL *name) arguments;
typedef struct Api {
    FUNCTIONS(DECLARE)
} Api;

/* What OrtGetApiBase() returns. */
typedef struct Base {
    const Function *(ORT_CALL *get_api)(uint32_t version);
    const char *(ORT_CALL *get_version)(void);
} Base;

#ifdef EDGERNN_ONNXRUNTIME_HEADER
#define COMPARE(place, name, result, arguments) \
    _Static_assert(offsetof(OrtApi, name) == place * sizeof(Function), #name);
FUNCTIONS(COMPARE)
_Static_assert(offsetof(OrtApiBase, GetApi) == offsetof(Base, get_api), "GetApi");
_Static_assert(offsetof(OrtApiBase, GetVersionString) == offsetof(Base, get_version), "version");
_Static_assert(ORT_LOGGING_LEVEL_FATAL == LOG_FATAL, "log");
_Static_assert(OrtArenaAllocator == ARENA_ALLOCATOR, "allocator");
_Static_assert(OrtMemTypeDefault == DEFAULT_MEMORY, "memory");
_Static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT == EDGERNN_FLOAT32, "float32");
_Static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64 == EDGERNN_UINT64, "uint64");
#endif

/* ---- Data -------------------------------------------------------------------------------------- */

#define LARGEST_SIZE INT64_C(2147483647)
enum {
    MOST_RANK = 32,
    MOST_PORTS = 4096,
    MOST_ATOMS = 200, /* of an expression of a size */
    MOST_THREADS = 1024,
    MOST_PATH = 4096,
    MOST_DIGITS = 18,
    ALIGNMENT = 64,
    SHAPE_SIZE = MOST_RANK + 1 /* of a step graph's port with an axis of steps in front */
};
#define MOST_HOPS (INT64_C(1) << 53)    /* of a sequence in a snapshot */
#define MOST_PADDING (INT64_C(1) << 30) /* steps of padding after the end */

/* Memory that is freed together. */
typedef struct Block {
    struct Block *next;
} Block;
typedef struct Arena {
    Block *first;
} Arena;

typedef struct Entry {
    const char *key, *value;
} Entry;

/* A size and a name. The symbols of a model are the names of its dynamic axes; 0 is none. */
enum { NO_SYMBOL = 0, BATCH = 1, SEQUENCE = 2 };
typedef struct Axis {
    int64_t size;     /* -1 where it varies */
    const char *text; /* what it is where it varies: a name, an expression, `?` */
    const char *name; /* "" where it has none */
    size_t symbol;    /* of a name */
} Axis;

/* A port as one kind of call has it: of a whole call, of a chunk or of a step. */
typedef struct View {
    const char *name;
    int32_t dtype;
    size_t width, rank;
    Axis *axes;
    int64_t limit, delay, tail, rate; /* rate: the steps of an output for each hop */
    int steps;                        /* the axis of steps, -1 without one */
    bool flattened, batch_outer;      /* whether that axis counts sequences as well; how */
    bool is_lengths, is_full;
    bool has_padding;
    double padding;
} View;

typedef struct Port {
    edgernn_port facts;
    size_t width;
    Axis *axes;
    size_t state; /* the place of its state + 1, 0 for data */
} Port;

/* The inputs or the outputs of a graph. */
enum { INPUTS, OUTPUTS };
typedef struct Side {
    Port *ports;
    size_t count;
    const char **names;
    size_t *places; /* of its data ports among all */
    size_t data_count;
    View *views; /* of its data ports, as a call of this graph has them */
} Side;

typedef struct Graph {
    OrtSession *session; /* NULL where there is no such graph */
    const char *where, *kind;
    Entry *entries;
    size_t entry_count;
    union {
        Side sides[2];
        struct {
            Side in, out;
        };
    };
} Graph;

typedef struct State {
    const char *name, *input, *output; /* name: `h` of the input `h_in` */
    const Port *port;                  /* its input */
    int32_t dtype;
    size_t width, rank;
    const Axis *axes;
    int64_t limit;
    void *initial; /* NULL for zeros */
    int64_t initial_count;
} State;

typedef struct Bound {
    const char *name;
    int64_t least, most; /* 0 where there is none */
} Bound;

/* A symbol of a vocabulary. */
typedef struct Symbol {
    const char *text;
    size_t size;
    int64_t id;
} Symbol;

struct edgernn_model {
    Count references;
    Arena arena;
    Api api;
    OrtEnv *env;
    OrtAllocator *allocator;
    OrtMemoryInfo *memory;
    char version[32];
    char provider[32];
    const char *folder; /* of an artifact, NULL for a single file or bytes */
    Graph graphs[2];
    Graph *main; /* the sequence graph, or the step graph where that is all */
    State *states;
    size_t state_count;
    bool carries, divisible, in_hops, is_limited;
    int64_t hop, constant_batch, constant_steps;
    int64_t least_steps, most_steps; /* of a call of the sequence graph; 0 where there is none */
    int64_t undefined, tail; /* hops until all outputs are defined; hops of padding at the end */
    const char **symbols;
    size_t symbol_count, symbol_capacity;
    Bound *bounds;
    size_t bound_count;
    View *chunks[2]; /* of the inputs and outputs of a chunk, in the order of `main` */
    View *steps[2];  /* of the step graph, or of a step in the sequence graph */
    size_t step_input_count;
    Symbol *vocabulary, *by_text; /* by_text: those that are neither unknown nor padding, sorted */
    size_t vocabulary_size, ordinary_count;
    int64_t unknown, padding; /* -1 where there is none */
    bool has_words;
};

/* The arrays of a call, by the places of its views. */
typedef struct Chunk {
    const void **data; /* NULL where an input is not there */
    int64_t (*shapes)[SHAPE_SIZE];
    int64_t steps;
} Chunk;

/* Arrays that are made together: the outputs of a call, one value for each state, or the inputs or outputs
 * of prepared steps. */
typedef struct Arrays {
    Arena arena;
    edgernn_tensor *tensors;
    void **memory; /* of states and prepared steps */
    int64_t (*shapes)[SHAPE_SIZE];
    OrtValue **values;
    const edgernn_model *model;
    size_t count;
} Arrays;

struct edgernn_stream {
    edgernn_model *model;
    Arena arena;
    size_t batch;
    int64_t (*state_shapes)[SHAPE_SIZE];
    size_t *state_bytes;
    Arrays *sets[2], *initial, *between, *spare; /* of states */
    size_t current;
    int64_t hops, age; /* hops that were run; hops of the sequence, as far as that matters */
    bool finished;
    Arena rest_arena;
    Chunk rest; /* by the places of chunks[INPUTS]; steps 0 where nothing is kept */
    Arrays *result;
    const OrtValue **call_inputs; /* for the calls of run_graph */
    OrtValue **call_outputs, **own_inputs;
    bool is_prepared; /* whether the shapes of a step are known; then: */
    int64_t (*step_shapes)[SHAPE_SIZE];
    size_t *step_bytes;
    const void **step_data;
    Arrays *staged, *slots[2], *cuts[2]; /* inputs, outputs, and these without what is not defined */
    const OrtValue **plan_inputs[2]; /* by the current set of states */
    OrtValue **plan_outputs[2];
};

#define TRY(call)                                   \
    do {                                            \
        const edgernn_status status_of_ = (call);   \
        if (status_of_ != EDGERNN_OK) return status_of_; \
    } while (0)

/* ---- Errors and memory ------------------------------------------------------------------------- */

/* Return the bytes of the UTF-8 character at `text`, 0 where it is none. */
static size_t character_size(const unsigned char *text, size_t left) {
    size_t size = 1;
    if (!left) return 0;
    if (text[0] < 0x80) return 1;
    if (text[0] >= 0xC2 && text[0] <= 0xDF) size = 2;
    else if (text[0] >= 0xE0 && text[0] <= 0xEF) size = 3;
    else if (text[0] >= 0xF0 && text[0] <= 0xF4) size = 4;
    else return 0;
    if (left < size) return 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    if (text[0] == 0xE0 && text[1] < 0xA0) return 0;
    if (text[0] == 0xED && text[1] > 0x9F) return 0;
    if (text[0] == 0xF0 && text[1] < 0x90) return 0;
    if (text[0] == 0xF4 && text[1] > 0x8F) return 0;
    return size;
}

static bool is_utf8(const char *text, size_t size) {
    for (size_t at = 0, step; at < size; at += step)
        if (!(step = character_size((const unsigned char *)text + at, size - at))) return false;
    return true;
}

/* Replace what is not UTF-8, and cut a character that is not whole at the end. */
static void clean_message(char *message) {
    size_t size = strlen(message), at = 0;
    while (at < size) {
        const size_t step = character_size((unsigned char *)message + at, size - at);
        if (!step && size - at < 4 && size == EDGERNN_MESSAGE_SIZE - 1) {
            message[at] = 0;
            return;
        }
        if (!step || (unsigned char)message[at] < 0x20) message[at] = step ? ' ' : '?';
        at += step ? step : 1;
    }
}

LIKE_PRINTF(3, 4)
static edgernn_status fail(edgernn_error *error, edgernn_status status, const char *format, ...) {
    va_list values;
    if (!error) return status;
    va_start(values, format);
    vsnprintf(error->message, sizeof error->message, format, values);
    va_end(values);
    clean_message(error->message);
    return status;
}

static edgernn_status fail_memory(edgernn_error *error) {
    return fail(error, EDGERNN_MEMORY_ERROR,
                "There is no memory for this call. Free some, or take a smaller batch or chunk.");
}

/* Write more at the end of a text, cut where there is no room. */
LIKE_PRINTF(3, 4)
static void append(char *text, size_t size, const char *format, ...) {
    const size_t end = strlen(text);
    va_list values;
    va_start(values, format);
    vsnprintf(text + end, size - end, format, values);
    va_end(values);
}

static const char *plural(int64_t count) {
    return count == 1 ? "" : "s";
}

static void clear(edgernn_error *error) {
    if (error) error->message[0] = 0;
}

/* Return zeroed memory of an arena, aligned for any type; NULL where there is none. */
static void *take(Arena *arena, size_t count, size_t width) {
    const size_t more = sizeof(Block) + ALIGNMENT;
    if (width && count > (SIZE_MAX - more) / width) return NULL;
    Block *block = calloc(1, more + count * width);
    if (!block) return NULL;
    block->next = arena->first;
    arena->first = block;
    const uintptr_t start = (uintptr_t)(block + 1);
    return (char *)(block + 1) + (ALIGNMENT - start % ALIGNMENT) % ALIGNMENT;
}

static void free_arena(Arena *arena) {
    while (arena->first) {
        Block *block = arena->first;
        arena->first = block->next;
        free(block);
    }
}

static const char *copy_text(Arena *arena, const char *text, size_t size) {
    char *copy = take(arena, size + 1, 1);
    if (copy) memcpy(copy, text, size);
    return copy;
}

#define TAKE(pointer, arena, count)                                                   \
    do {                                                                              \
        if (!((pointer) = take(arena, (size_t)(count), sizeof *(pointer)))) return fail_memory(error); \
    } while (0)

/* Set *product to a · b, or return false where that is too large for a size. */
static bool multiply(int64_t *product, int64_t a, int64_t b) {
    if (a < 0 || b < 0 || (b && a > INT64_MAX / 4 / b)) return false;
    *product = a * b;
    return (uint64_t)*product <= SIZE_MAX / 4;
}

/* Set *bytes to the size of an array, or return false where it is too large. */
static bool count_bytes(const int64_t *shape, size_t rank, size_t width, size_t *bytes) {
    int64_t product = (int64_t)width;
    for (size_t axis = 0; axis < rank; axis++)
        if (!multiply(&product, product, shape[axis])) return false;
    *bytes = (size_t)product;
    return true;
}

/* Turn a status of ONNX Runtime into an error of `kind`: `subject` reason. */
static edgernn_status fail_in_runtime(const edgernn_model *model, OrtStatus *status,
                                      edgernn_status kind, const char *subject,
                                      edgernn_error *error) {
    if (!status) return EDGERNN_OK;
    fail(error, kind, "%s: %s", subject, model->api.GetErrorMessage(status));
    model->api.ReleaseStatus(status);
    return kind;
}

/* Do a call of ONNX Runtime's, or return its error of `kind`. */
#define ORT(kind, subject, call) TRY(fail_in_runtime(model, model->api.call, kind, subject, error))

/* Free memory of ONNX Runtime's allocator. */
static void free_memory(const edgernn_model *model, void *memory) {
    OrtStatus *status = memory ? model->api.AllocatorFree(model->allocator, memory) : NULL;
    if (status) model->api.ReleaseStatus(status);
}

static const struct {
    const char *name, *code; /* code: in .npy files */
    size_t width;
} DTYPES[] = {{"undefined", "", 0}, {"float32", "f4", 4}, {"uint8", "u1", 1},   {"int8", "i1", 1},
              {"uint16", "u2", 2},  {"int16", "i2", 2},   {"int32", "i4", 4},   {"int64", "i8", 8},
              {"text", "", 0},      {"bool", "b1", 1},    {"float16", "f2", 2}, {"float64", "f8", 8},
              {"uint32", "u4", 4},  {"uint64", "u8", 8}};
enum { DTYPE_COUNT = sizeof DTYPES / sizeof *DTYPES };

static size_t width_of(int32_t dtype) {
    return dtype > 0 && dtype < DTYPE_COUNT ? DTYPES[dtype].width : 0;
}

static const char *dtype_name(int32_t dtype) {
    return width_of(dtype) ? DTYPES[dtype].name : "no dtype of numbers";
}

static bool is_integer(int32_t dtype) {
    return width_of(dtype) && strchr("iu", *DTYPES[dtype].code);
}

/* ---- Numbers ----------------------------------------------------------------------------------- */

#define DIGITS "0123456789"

/* Read a finite number of `size` bytes as strtod does where the decimal point is a point. */
static bool read_real(const char *text, size_t size, double *number) {
    char copy[96], *end;
    const char *point = localeconv()->decimal_point;
    size_t length = 0;
    if (!size || size > 40 || strlen(point) > 8) return false;
    for (size_t i = 0; i < size && length < sizeof copy - 10; i++) {
        if (!strchr("0123456789+-.eE", text[i])) return false;
        const char *written = text[i] == '.' ? point : &text[i];
        const size_t bytes = text[i] == '.' ? strlen(point) : 1;
        memcpy(copy + length, written, bytes);
        length += bytes;
    }
    copy[length] = 0;
    *number = strtod(copy, &end);
    return !*end && isfinite(*number);
}

/* Read an integer with a sign. */
static bool read_integer(const char *text, size_t size, int64_t *number) {
    char copy[32];
    const size_t sign = size && *text == '-';
    if (size == sign || size >= sizeof copy || strspn(text + sign, DIGITS) < size - sign) return false;
    memcpy(copy, text, size);
    copy[size] = 0;
    errno = 0;
    *number = strtoll(copy, NULL, 10);
    return !errno;
}

/* Round a float32 to the nearest float16, as NumPy does. */
static uint16_t to_half(float single) {
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const int exponent = (int)(bits >> 23 & 0xFF) - 127 + 15;
    uint32_t fraction = bits & 0x7FFFFF;
    if (exponent >= 31) return (uint16_t)(sign | 0x7C00);
    if (exponent <= 0) {
        if (exponent < -10) return sign;
        fraction |= 0x800000;
        const int shift = 14 - exponent;
        const uint32_t half = 1u << (shift - 1), rest = fraction & ((1u << shift) - 1);
        fraction >>= shift;
        return (uint16_t)(sign | (fraction + (rest > half || (rest == half && (fraction & 1)))));
    }
    const uint32_t rest = fraction & 0x1FFF, half = (uint32_t)exponent << 10 | fraction >> 13;
    return (uint16_t)(sign | (half + (rest > 0x1000 || (rest == 0x1000 && (half & 1)))));
}

/* The integers of less than 64 bits. */
#define INTEGERS(X)                                                                      \
    X(EDGERNN_INT8, int8_t) X(EDGERNN_INT16, int16_t) X(EDGERNN_INT32, int32_t)          \
    X(EDGERNN_UINT8, uint8_t) X(EDGERNN_UINT16, uint16_t) X(EDGERNN_UINT32, uint32_t)

/* Write a number as an element; return false where the dtype does not hold it. */
static bool write_number(void *element, int32_t dtype, double number) {
    const float single = (float)number;
    const int64_t integer = fabs(number) < 9e18 ? (int64_t)number : 0;
    const uint16_t half = to_half(single);
    if (dtype == EDGERNN_FLOAT64) return memcpy(element, &number, 8), true;
    if (dtype == EDGERNN_FLOAT32) return memcpy(element, &single, 4), isfinite(single);
    if (dtype == EDGERNN_FLOAT16) return memcpy(element, &half, 2), (half & 0x7C00) != 0x7C00;
    if (dtype == EDGERNN_BOOL) return memcpy(element, &(bool){number != 0}, 1), true;
    if (number != floor(number) || fabs(number) >= 9e18) return false;
    switch (dtype) {
#define WRITE(dtype, type) \
    case dtype: return memcpy(element, &(type){(type)integer}, sizeof(type)), integer == (type)integer;
        INTEGERS(WRITE)
    default: return memcpy(element, &integer, 8), dtype == EDGERNN_INT64 || integer >= 0;
    }
}

/* Return an element of an integer dtype; one above INT64_MAX as INT64_MAX. */
static int64_t integer_at(const void *data, int32_t dtype, size_t place) {
    switch (dtype) {
#define READ(dtype, type) \
    case dtype: return ((const type *)data)[place];
        INTEGERS(READ)
    default: {
        const int64_t value = ((const int64_t *)data)[place];
        return dtype == EDGERNN_UINT64 && value < 0 ? INT64_MAX : value;
    }
    }
}

/* Return an element of any dtype. */
static double real_at(const void *data, int32_t dtype, size_t place) {
    if (dtype == EDGERNN_FLOAT32) return (double)((const float *)data)[place];
    if (dtype == EDGERNN_FLOAT64) return ((const double *)data)[place];
    if (dtype == EDGERNN_BOOL) return ((const unsigned char *)data)[place] != 0;
    if (dtype != EDGERNN_FLOAT16) return (double)integer_at(data, dtype, place);
    const uint16_t half = ((const uint16_t *)data)[place];
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double size = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                        : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                       : ldexp(fraction, -24);
    return half & 0x8000 ? -size : size;
}

static bool are_finite(const void *data, int32_t dtype, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(real_at(data, dtype, i))) return false;
    return true;
}

/* ---- Sizes of axes: expressions such as 2*(sequence//160) --------------------------------------- */

/* What is not an expression of known sizes has no known value. */
typedef struct Expression {
    const edgernn_model *model;
    const int64_t *symbols; /* sizes by symbol, -1 where not known */
    size_t symbol_count;
    const char *at;
    bool is_known;
    int atoms;
} Expression;

static int64_t evaluate_sum(Expression *expression);

static bool is_word(char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t find_symbol(const edgernn_model *model, const char *name, size_t size) {
    for (size_t i = 1; i < model->symbol_count; i++)
        if (strlen(model->symbols[i]) == size && !memcmp(model->symbols[i], name, size)) return i;
    return NO_SYMBOL;
}

static int64_t unknown_size(Expression *expression) {
    expression->is_known = false;
    return 1;
}

/* Keep intermediate results small enough for every operation on two of them. */
static int64_t bounded(Expression *expression, int64_t value) {
    return value > LARGEST_SIZE || value < -LARGEST_SIZE ? unknown_size(expression) : value;
}

static void skip_blanks(Expression *expression) {
    while (*expression->at == ' ') expression->at++;
}

static int64_t evaluate_atom(Expression *expression) {
    int64_t value = 0;
    skip_blanks(expression);
    const char *start = expression->at;
    if (++expression->atoms > MOST_ATOMS) return unknown_size(expression);
    if (*start == '-') {
        expression->at++;
        value = -evaluate_atom(expression);
    } else if (*start == '(') {
        expression->at++;
        value = evaluate_sum(expression);
        if (*expression->at != ')') return unknown_size(expression);
        expression->at++;
    } else if (*start >= '0' && *start <= '9') {
        for (; *expression->at >= '0' && *expression->at <= '9'; expression->at++)
            value = bounded(expression, value * 10 + (*expression->at - '0'));
    } else {
        while (is_word(*expression->at)) expression->at++;
        const size_t symbol = find_symbol(expression->model, start, (size_t)(expression->at - start));
        value = symbol && symbol < expression->symbol_count ? expression->symbols[symbol] : -1;
        if (value < 0) value = unknown_size(expression);
    }
    skip_blanks(expression);
    return bounded(expression, value);
}

static int64_t evaluate_product(Expression *expression) {
    int64_t value = evaluate_atom(expression);
    while (*expression->at == '*' || *expression->at == '/') {
        const bool divides = *expression->at++ == '/';
        if (divides && *expression->at++ != '/') return expression->at--, unknown_size(expression);
        const int64_t other = evaluate_atom(expression);
        if (!divides) value = bounded(expression, value * other);
        else if (!other) value = unknown_size(expression);
        else value = value / other - (value % other && (value < 0) != (other < 0)); /* rounded down */
    }
    return value;
}

static int64_t evaluate_sum(Expression *expression) {
    int64_t value = evaluate_product(expression);
    while (*expression->at == '+' || *expression->at == '-') {
        const bool adds = *expression->at++ == '+';
        const int64_t other = evaluate_product(expression);
        value = bounded(expression, adds ? value + other : value - other);
    }
    return value;
}

/* Return the size of a text where the sizes of the first `count` symbols determine it, otherwise -1. */
static int64_t evaluate(const edgernn_model *model, const char *text, const int64_t *symbols, size_t count) {
    Expression expression = {model, symbols, count, text, true, 0};
    const int64_t value = evaluate_sum(&expression);
    return expression.is_known && !*expression.at && value >= 0 ? value : -1;
}

static int64_t axis_size(const edgernn_model *model, const Axis *axis, const int64_t *symbols) {
    if (axis->size >= 0) return axis->size;
    return axis->symbol ? symbols[axis->symbol] : evaluate(model, axis->text, symbols, model->symbol_count);
}

/* Return whether a name is one of the words of a text, as `sequence` in `batch*sequence`. */
static bool has_word(const char *text, const char *name) {
    const size_t size = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at++)
        if ((at == text || !is_word(at[-1])) && !is_word(at[size])) return true;
    return false;
}

/* ---- The contract of a graph ------------------------------------------------------------------- */

/* What memory safety and right numbers rest on is checked here; edgernn itself checks the rest when it
 * writes an artifact, and when it reads one. */

LIKE_PRINTF(3, 4)
static edgernn_status refuse(const Graph *graph, edgernn_error *error, const char *format, ...) {
    char reason[EDGERNN_MESSAGE_SIZE];
    va_list values;
    va_start(values, format);
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    return fail(error, EDGERNN_CONTRACT_ERROR,
                "`%s` has a contract that cannot be read: %s. Export the model again.",
                graph->where, reason);
}

/* Return the entry edgernn.KEY or edgernn.KEY.NAME of a graph, NULL without it. */
static const char *find_entry(const Graph *graph, const char *key, const char *name) {
    const size_t size = strlen(key);
    for (size_t i = 0; i < graph->entry_count; i++) {
        const char *entry = graph->entries[i].key;
        if (strncmp(entry, key, size)) continue;
        if (name ? entry[size] == '.' && !strcmp(entry + size + 1, name) : !entry[size])
            return graph->entries[i].value;
    }
    return NULL;
}

/* Read the entry edgernn.KEY.NAME as an integer; `missing` where there is none. */
static edgernn_status find_count(const Graph *graph, const char *key, const char *name,
                                 int64_t missing, int64_t *count, edgernn_error *error) {
    const char *text = find_entry(graph, key, name);
    const size_t size = text ? strlen(text) : 0;
    *count = missing;
    if (text && (size > MOST_DIGITS || *text == '-' || !read_integer(text, size, count)))
        return refuse(graph, error, "`%s%s%s` is `%.60s`; expected an integer of at most %d digits",
                      key, name ? "." : "", name ? name : "", text, (int)MOST_DIGITS);
    return EDGERNN_OK;
}

/* Return whether a text `a,b` has a name. */
static bool lists(const char *text, const char *name) {
    const size_t size = strlen(name);
    for (const char *at = text ? text : ""; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == size && !memcmp(at, name, size)) return true;
    return false;
}

/* Copy one entry of the metadata, if it is ours. */
static edgernn_status read_entry(edgernn_model *model, Graph *graph, OrtModelMetadata *metadata,
                                 const char *key, edgernn_error *error) {
    static const char prefix[] = "edgernn.";
    Entry *entry = &graph->entries[graph->entry_count];
    char *value = NULL;
    if (strncmp(key, prefix, sizeof prefix - 1)) return EDGERNN_OK;
    ORT(EDGERNN_CONTRACT_ERROR, "ONNX Runtime cannot read the metadata",
        ModelMetadataLookupCustomMetadataMap(metadata, model->allocator, key, &value));
    if (!value) return EDGERNN_OK;
    const bool fits = is_utf8(value, strlen(value)) && is_utf8(key, strlen(key));
    entry->key = copy_text(&model->arena, key + sizeof prefix - 1, strlen(key) - (sizeof prefix - 1));
    entry->value = copy_text(&model->arena, value, strlen(value));
    free_memory(model, value);
    if (!entry->key || !entry->value) return fail_memory(error);
    if (!fits) return refuse(graph, error, "`%.100s` is not UTF-8 text", entry->key);
    graph->entry_count++;
    return EDGERNN_OK;
}

static edgernn_status read_metadata(edgernn_model *model, Graph *graph, edgernn_error *error) {
    static const char unreadable[] = "ONNX Runtime cannot read the metadata";
    OrtModelMetadata *metadata = NULL;
    char **keys = NULL;
    int64_t count = 0;
    graph->entry_count = 0;
    ORT(EDGERNN_PROVIDER_ERROR, unreadable, SessionGetModelMetadata(graph->session, &metadata));
    edgernn_status status = fail_in_runtime(
        model, model->api.ModelMetadataGetCustomMetadataMapKeys(metadata, model->allocator, &keys, &count),
        EDGERNN_PROVIDER_ERROR, unreadable, error);
    if (!status && !(graph->entries = take(&model->arena, (size_t)count + 1, sizeof(Entry))))
        status = fail_memory(error);
    for (int64_t i = 0; keys && i < count; i++) {
        if (!status) status = read_entry(model, graph, metadata, keys[i], error);
        free_memory(model, keys[i]);
    }
    free_memory(model, keys);
    model->api.ReleaseModelMetadata(metadata);
    return status;
}

/* Give a varying axis its text, and its symbol where that is a name. */
static edgernn_status set_text(edgernn_model *model, Axis *axis, const char *text, edgernn_error *error) {
    size_t size = 0;
    axis->size = -1;
    axis->text = text;
    axis->symbol = NO_SYMBOL;
    while (is_word(text[size])) size++;
    if (!size || text[size] || (*text >= '0' && *text <= '9')) return EDGERNN_OK;
    if ((axis->symbol = find_symbol(model, text, size))) return EDGERNN_OK;
    if (model->symbol_count == model->symbol_capacity) {
        const size_t capacity = 2 * model->symbol_capacity + 16;
        const char **symbols;
        TAKE(symbols, &model->arena, capacity);
        memcpy(symbols, model->symbols, model->symbol_count * sizeof *symbols);
        model->symbols = symbols;
        model->symbol_capacity = capacity;
    }
    axis->symbol = model->symbol_count;
    model->symbols[model->symbol_count++] = text;
    return EDGERNN_OK;
}

/* Read the axes of a port from ONNX Runtime, and their names from the metadata, as `batch,sequence,`. */
static edgernn_status read_axes(edgernn_model *model, Graph *graph, Port *port,
                                const OrtTensorTypeAndShapeInfo *info, edgernn_error *error) {
    static const char unreadable[] = "ONNX Runtime cannot read a shape";
    int64_t sizes[MOST_RANK] = {0};
    const char *texts[MOST_RANK] = {0}, *names = find_entry(graph, "axes", port->facts.name);
    size_t rank = 0;
    ORT(EDGERNN_CONTRACT_ERROR, unreadable, GetDimensionsCount(info, &rank));
    if (rank > MOST_RANK)
        return refuse(graph, error, "port `%.100s` has %zu axes; at most %d are read",
                      port->facts.name, rank, (int)MOST_RANK);
    port->facts.rank = rank;
    TAKE(port->axes, &model->arena, rank + 1);
    if (!rank) return EDGERNN_OK;
    ORT(EDGERNN_CONTRACT_ERROR, unreadable, GetDimensions(info, sizes, rank));
    ORT(EDGERNN_CONTRACT_ERROR, unreadable, GetSymbolicDimensions(info, texts, rank));
    for (size_t i = 0; i < rank; i++) {
        const char *text = texts[i] && *texts[i] ? texts[i] : "?";
        Axis *axis = &port->axes[i];
        *axis = (Axis){sizes[i], "", "", NO_SYMBOL};
        if (sizes[i] > LARGEST_SIZE || !is_utf8(text, strlen(text)))
            return refuse(graph, error, "port `%.100s` has an axis that is not UTF-8 text or has more "
                          "than %" PRId64 " elements", port->facts.name, LARGEST_SIZE);
        if (sizes[i] < 0) {
            if (!(text = copy_text(&model->arena, text, strlen(text)))) return fail_memory(error);
            TRY(set_text(model, axis, text, error));
            axis->name = *text == '?' ? "" : text;
        }
        if (!names) continue;
        const size_t size = strcspn(names, ",");
        if (!axis->symbol && !(axis->name = copy_text(&model->arena, names, size))) return fail_memory(error);
        names += size + (names[size] == ',');
    }
    return EDGERNN_OK;
}

/* Read what a graph and its metadata say of a port, its name being known. */
static edgernn_status read_facts(edgernn_model *model, Graph *graph, Port *port,
                                 const OrtTypeInfo *info, edgernn_error *error) {
    static const char unreadable[] = "ONNX Runtime cannot read a type";
    const OrtTensorTypeAndShapeInfo *tensor = NULL;
    edgernn_port *facts = &port->facts;
    int type = 0;
    ORT(EDGERNN_CONTRACT_ERROR, unreadable, CastTypeInfoToTensorInfo(info, &tensor));
    if (tensor) ORT(EDGERNN_CONTRACT_ERROR, unreadable, GetTensorElementType(tensor, &type));
    if (!width_of(type)) return refuse(graph, error, "port `%.100s` is not a tensor of numbers", facts->name);
    facts->dtype = type;
    port->width = width_of(type);
    TRY(read_axes(model, graph, port, tensor, error));
    TRY(find_count(graph, "limit", facts->name, 0, &facts->limit, error));
    TRY(find_count(graph, "delay", facts->name, 0, &facts->delay, error));
    TRY(find_count(graph, "tail", facts->name, 0, &facts->tail, error));
    if (facts->limit && !is_integer(type))
        return refuse(graph, error, "port `%.100s` has a limit of ids but is of dtype %s", facts->name,
                      dtype_name(type));
    if (facts->delay > LARGEST_SIZE || facts->tail > LARGEST_SIZE)
        return refuse(graph, error, "the delay or tail of `%.100s` is more than %" PRId64, facts->name,
                      LARGEST_SIZE);
    model->in_hops |= facts->delay || facts->tail;
    facts->is_lengths = facts->rank == 1 && is_integer(type) &&
                        lists(find_entry(graph, "lengths", NULL), facts->name);
    return EDGERNN_OK;
}

static Port *find_port(const Side *side, const char *name, size_t size) {
    for (size_t i = 0; i < side->count; i++) {
        const char *other = side->ports[i].facts.name;
        if (other && strlen(other) == size && !memcmp(other, name, size)) return &side->ports[i];
    }
    return NULL;
}

/* Read the inputs or outputs of a graph. */
static edgernn_status read_ports(edgernn_model *model, Graph *graph, int out, edgernn_error *error) {
    const Api *api = &model->api;
    Side *side = &graph->sides[out];
    TRY(fail_in_runtime(model, (out ? api->SessionGetOutputCount : api->SessionGetInputCount)(
                                   graph->session, &side->count),
                        EDGERNN_CONTRACT_ERROR, "ONNX Runtime cannot read the ports", error));
    if (side->count > MOST_PORTS)
        return refuse(graph, error, "it has more than %d ports of a kind", (int)MOST_PORTS);
    TAKE(side->ports, &model->arena, side->count + 1);
    TAKE(side->names, &model->arena, side->count + 1);
    for (size_t i = 0; i < side->count; i++) {
        OrtTypeInfo *info = NULL;
        char *name = NULL;
        TRY(fail_in_runtime(model, (out ? api->SessionGetOutputName : api->SessionGetInputName)(
                                       graph->session, i, model->allocator, &name),
                            EDGERNN_CONTRACT_ERROR, "ONNX Runtime cannot read a name", error));
        const char *copy = copy_text(&model->arena, name, strlen(name));
        free_memory(model, name);
        if (!copy) return fail_memory(error);
        if (!*copy || !is_utf8(copy, strlen(copy)) || strpbrk(copy, "/\\"))
            return refuse(graph, error, "port `%.100s` has a name that cannot be a file name", copy);
        side->ports[i].facts.name = side->names[i] = copy;
        if (find_port(side, copy, strlen(copy)) != &side->ports[i])
            return refuse(graph, error, "the %s graph has two %s named `%.100s`", graph->kind,
                          out ? "outputs" : "inputs", copy);
        TRY(fail_in_runtime(model, (out ? api->SessionGetOutputTypeInfo : api->SessionGetInputTypeInfo)(
                                       graph->session, i, &info),
                            EDGERNN_CONTRACT_ERROR, "ONNX Runtime cannot read a type", error));
        const edgernn_status status = read_facts(model, graph, &side->ports[i], info, error);
        api->ReleaseTypeInfo(info);
        TRY(status);
    }
    return EDGERNN_OK;
}

/* ---- States ------------------------------------------------------------------------------------ */

static bool is_batch(const Axis *axis) {
    return axis->symbol == BATCH || !strcmp(axis->name, "batch");
}

static bool same_shapes(const Port *a, const Port *b) {
    bool same = a->facts.dtype == b->facts.dtype && a->facts.rank == b->facts.rank;
    for (size_t i = 0; same && i < a->facts.rank; i++) same = a->axes[i].size == b->axes[i].size;
    return same;
}

/* Check that the two ports of a state have the same shape and dtype, and that the batch gives it. */
static edgernn_status check_state(Graph *graph, Port *before, Port *after, edgernn_error *error) {
    const char *name = before->facts.name;
    size_t batches = 0;
    if (!same_shapes(before, after))
        return refuse(graph, error, "the state `%.100s` of the %s graph has the output `%.100s`; "
                      "both must have the same shape and dtype", name, graph->kind, after->facts.name);
    for (size_t i = 0; i < before->facts.rank; i++) {
        const Axis *axis = &before->axes[i];
        batches += is_batch(axis);
        if (batches > 1) return refuse(graph, error, "state `%.100s` has the axis `batch` twice", name);
        if (axis->size < 0 && axis->symbol != BATCH)
            return refuse(graph, error, "state `%.100s` of the %s graph has the dynamic axis "
                          "`%.60s`; only `batch` may be dynamic", name, graph->kind, axis->text);
    }
    return EDGERNN_OK;
}

/* Name the batch axis of a state that is constant: the second of three axes, as in torch. */
static void name_batch(Graph *graph, Port *port) {
    if (port->facts.rank != 3 || find_entry(graph, "axes", port->facts.name)) return;
    for (size_t i = 0; i < 3; i++)
        if (is_batch(&port->axes[i])) return;
    port->axes[1].name = "batch";
}

/* Pair the ports of each state by the entry `IN:OUT,IN:OUT`. */
static edgernn_status pair_states(edgernn_model *model, Graph *graph, edgernn_error *error) {
    const char *text = find_entry(graph, "states", NULL);
    size_t count = 0;
    if (!text) return refuse(graph, error, "`states` is missing");
    for (const char *at = text; *at;) {
        const size_t size = strcspn(at, ","), first = strcspn(at, ":,");
        const size_t second = first < size ? size - first - 1 : 0;
        if (!first || !second)
            return refuse(graph, error, "`states` is `%.200s`; expected pairs, as "
                          "h_in:h_out,c_in:c_out", text);
        Port *before = find_port(&graph->in, at, first);
        Port *after = find_port(&graph->out, at + first + 1, second);
        if (!before || !after || before->state || after->state)
            return refuse(graph, error, "the %s graph has no pair of ports for the state "
                          "`%.*s`", graph->kind, (int)(size < 200 ? size : 200), at);
        before->state = after->state = ++count;
        before->facts.is_state = after->facts.is_state = true;
        name_batch(graph, before);
        name_batch(graph, after);
        TRY(check_state(graph, before, after, error));
        at += size + (at[size] == ',');
    }
    if (graph == model->main) {
        TAKE(model->states, &model->arena, count + 1);
        model->state_count = count;
    }
    if (count != model->state_count)
        return refuse(graph, error, "its graphs have %zu and %zu states", model->state_count, count);
    return EDGERNN_OK;
}

/* Read the numbers of edgernn.initial.NAME into a state. */
static edgernn_status read_initial(edgernn_model *model, Graph *graph, State *state, edgernn_error *error) {
    const char *text = find_entry(graph, "initial", state->name);
    int64_t each = 1, whole = 1, count = 1;
    if (!text) return EDGERNN_OK;
    for (size_t i = 0; i < state->rank; i++) {
        const int64_t size = state->axes[i].size < 0 ? 1 : state->axes[i].size;
        if (!multiply(&whole, whole, size)) return fail_memory(error);
        if (!is_batch(&state->axes[i]) && !multiply(&each, each, size)) return fail_memory(error);
    }
    for (const char *at = text; *at; at++) count += *at == ' ';
    if (count != each && count != whole)
        return refuse(graph, error, "`initial.%.100s` has %" PRId64 " numbers; `%.100s` starts "
                      "from %" PRId64, state->name, count, state->input, each);
    char *data = take(&model->arena, (size_t)count, state->width);
    if (!data) return fail_memory(error);
    state->initial = data;
    state->initial_count = count;
    for (int64_t i = 0; i < count; i++, data += state->width) {
        const size_t size = strcspn(text, " ");
        double real = 0;
        int64_t integer = 0;
        const bool is_int64 = state->dtype == EDGERNN_INT64;
        bool fits = is_int64 ? read_integer(text, size, &integer) : read_real(text, size, &real);
        if (is_int64) memcpy(data, &integer, sizeof integer);
        else fits = fits && write_number(data, state->dtype, real);
        if (!fits)
            return refuse(graph, error, "`initial.%.100s` has `%.*s`; expected %s with one space "
                          "between them", state->name, (int)(size < 60 ? size : 60), text,
                          is_int64 ? "integers" : "finite numbers");
        text += size + (text[size] == ' ');
    }
    return EDGERNN_OK;
}

/* Collect the states of the main graph in the order of `edgernn.states`, and compare the other's. */
static edgernn_status read_states(edgernn_model *model, Graph *graph, edgernn_error *error) {
    for (int out = 0; out < 2; out++)
        for (size_t i = 0; i < graph->sides[out].count; i++) {
            const Port *port = &graph->sides[out].ports[i];
            if (!port->state) continue;
            State *state = &model->states[port->state - 1];
            const char **name = out ? &state->output : &state->input;
            if (graph != model->main && (strcmp(*name, port->facts.name) || !same_shapes(state->port, port)))
                return refuse(graph, error, "its graphs have different states, `%.100s` and `%.100s`",
                              *name, port->facts.name);
            if (graph != model->main) continue;
            *name = port->facts.name;
            if (out) continue;
            state->port = port;
            state->dtype = port->facts.dtype;
            state->width = port->width;
            state->rank = port->facts.rank;
            state->axes = port->axes;
            state->limit = port->facts.limit;
            model->is_limited |= state->limit > 0;
            size_t size = strlen(*name);
            if (size > 3 && !strcmp(*name + size - 3, "_in")) size -= 3;
            if (!(state->name = copy_text(&model->arena, *name, size))) return fail_memory(error);
            TRY(read_initial(model, graph, state, error));
        }
    return EDGERNN_OK;
}

/* ---- Views of the data ports ------------------------------------------------------------------- */

/* Find the axis of steps of a view, and how it counts them. */
static void find_steps(const edgernn_model *model, View *view) {
    view->steps = -1;
    for (size_t i = 0; i < view->rank && view->steps < 0; i++)
        if (has_word(view->axes[i].name, "sequence")) view->steps = (int)i;
    for (size_t i = 0; i < view->rank && view->steps < 0; i++)
        if (!strcmp(view->axes[i].name, "hop")) view->steps = (int)i;
    view->rate = 1;
    view->flattened = view->batch_outer = false;
    if (view->steps < 0) return;
    const Axis *axis = &view->axes[view->steps];
    view->flattened = has_word(axis->name, "batch");
    view->batch_outer = !strncmp(axis->name, "batch*", 6);
    if (!strcmp(axis->name, "hop")) {
        view->rate = axis->size;
        return;
    }
    /* The last shows a small excess, as sequence//160 at a hop of 161. */
    static const int64_t tried[] = {1, 2, 3, 1000003};
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        if (model->hop > LARGEST_SIZE / tried[i]) continue;
        const int64_t symbols[3] = {-1, 1, model->hop * tried[i]}; /* only batch and sequence are known */
        const int64_t value = evaluate(model, axis->name, symbols, 3);
        if (!i) view->rate = value;
        if (value <= 0 || value != view->rate * tried[i]) view->rate = -1;
        if (view->rate < 0) return;
    }
}

/* Make the views of the data ports of a graph, and read the padding of its inputs. */
static edgernn_status view_ports(edgernn_model *model, Graph *graph, Side *side, edgernn_error *error) {
    TAKE(side->places, &model->arena, side->count + 1);
    TAKE(side->views, &model->arena, side->count + 1);
    for (size_t i = 0; i < side->count; i++) {
        const Port *port = &side->ports[i];
        const edgernn_port *facts = &port->facts;
        const char *padding = find_entry(graph, "padding", facts->name);
        char element[8];
        if (port->state) continue;
        View *view = &side->views[side->data_count];
        side->places[side->data_count++] = i;
        *view = (View){.name = facts->name, .dtype = facts->dtype, .width = port->width, .rank = facts->rank,
                       .axes = port->axes, .limit = facts->limit, .delay = facts->delay, .tail = facts->tail,
                       .is_lengths = facts->is_lengths, .has_padding = padding != NULL,
                       .is_full = lists(find_entry(graph, "lengths.full", NULL), facts->name)};
        find_steps(model, view);
        if (padding && (!read_real(padding, strlen(padding), &view->padding) ||
                        !write_number(element, view->dtype, view->padding)))
            return refuse(graph, error, "the padding of `%.100s` is `%.60s`, which it does not "
                          "take", view->name, padding);
    }
    return EDGERNN_OK;
}

/* Turn a view of a step graph's port into that of a chunk, where there is no sequence graph. */
static edgernn_status over_chunks(edgernn_model *model, View *view, bool is_output, edgernn_error *error) {
    char text[64] = "sequence";
    Axis *axis = NULL;
    for (size_t i = 0; i < view->rank && !axis; i++)
        if (!strcmp(view->axes[i].name, "hop")) axis = &view->axes[i];
    if (!axis && model->hop > 1) snprintf(text, sizeof text, "sequence//%" PRId64, model->hop);
    if (axis && axis->size != model->hop)
        snprintf(text, sizeof text, model->hop == 1 ? "%" PRId64 "*sequence" : "%" PRId64 "*(sequence//%" PRId64 ")",
                 axis->size, model->hop);
    const char *copy = copy_text(&model->arena, text, strlen(text));
    if (!copy) return fail_memory(error);
    if (!axis && (model->hop == 1 || is_output)) { /* put an axis in front of the others */
        axis = view->axes;
        memmove(axis + 1, axis, view->rank++ * sizeof *axis);
    }
    if (axis) {
        axis->name = copy;
        TRY(set_text(model, axis, copy, error));
    }
    find_steps(model, view);
    return EDGERNN_OK;
}

/* Turn a view of a sequence graph's port into that of chunks of any number of steps. */
static edgernn_status vary_steps(edgernn_model *model, View *view, edgernn_error *error) {
    for (size_t i = 0; i < view->rank; i++)
        if (view->axes[i].size >= 0 && has_word(view->axes[i].name, "sequence"))
            TRY(set_text(model, &view->axes[i], view->axes[i].name, error));
    return EDGERNN_OK;
}

/* Turn a view of a sequence graph's input into that of one step. */
static void of_step(const edgernn_model *model, View *view) {
    Axis *axis = view->axes + (view->steps < 0 ? 0 : view->steps);
    if (view->steps < 0 || strcmp(axis->name, "sequence")) return;
    if (model->hop == 1) {
        memmove(axis, axis + 1, (view->rank - (size_t)view->steps - 1) * sizeof *axis);
        view->rank--;
        view->steps = -1;
    } else {
        *axis = (Axis){model->hop, axis->text, "hop", NO_SYMBOL};
    }
}

/* Copy the views of a side of the main graph, with room for an axis of steps. */
static edgernn_status copy_views(edgernn_model *model, int out, View **views, edgernn_error *error) {
    const Side *side = &model->main->sides[out];
    TAKE(*views, &model->arena, side->data_count + 1);
    for (size_t i = 0; i < side->data_count; i++) {
        View *view = &(*views)[i];
        *view = side->views[i];
        TAKE(view->axes, &model->arena, SHAPE_SIZE);
        memcpy(view->axes, side->views[i].axes, view->rank * sizeof *view->axes);
    }
    return EDGERNN_OK;
}

/* Make the views of chunks and of steps. */
static edgernn_status view_calls(edgernn_model *model, edgernn_error *error) {
    Graph *main = model->main, *step = &model->graphs[EDGERNN_STEP];
    for (int out = 0; out < 2; out++) {
        TRY(copy_views(model, out, &model->chunks[out], error));
        for (size_t i = 0; i < main->sides[out].data_count; i++) {
            View *view = &model->chunks[out][i];
            if (main == step) TRY(over_chunks(model, view, out == OUTPUTS, error));
            else if (out == INPUTS) TRY(vary_steps(model, view, error));
        }
    }
    model->step_input_count = (step->session ? step : main)->in.data_count;
    model->steps[INPUTS] = step->in.views;
    model->steps[OUTPUTS] = step->out.views;
    if (step->session) return EDGERNN_OK;
    model->steps[OUTPUTS] = main->out.views;
    TRY(copy_views(model, INPUTS, &model->steps[INPUTS], error));
    for (size_t i = 0; i < main->in.data_count; i++) of_step(model, &model->steps[INPUTS][i]);
    return EDGERNN_OK;
}

/* Write a port as `x: float32[batch, 10]`. */
static const char *describe(const View *view, char *text, size_t size) {
    snprintf(text, size, "%.80s: %s[", view->name, dtype_name(view->dtype));
    for (size_t i = 0; i < view->rank; i++) {
        const Axis *axis = &view->axes[i];
        append(text, size, "%s", i ? ", " : "");
        if (axis->size >= 0) append(text, size, "%" PRId64, axis->size);
        else append(text, size, "%s", axis->text);
    }
    append(text, size, "]");
    return text;
}

/* ---- Rules for the whole contract -------------------------------------------------------------- */

static const View *find_view(const View *views, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(views[i].name, name)) return &views[i];
    return NULL;
}

static Bound *find_bound(const edgernn_model *model, const char *name) {
    for (size_t i = 0; i < model->bound_count; i++)
        if (!strcmp(model->bounds[i].name, name)) return &model->bounds[i];
    return NULL;
}

/* Read edgernn.least.AXIS and edgernn.most.AXIS. */
static edgernn_status read_bounds(edgernn_model *model, const Graph *graph, edgernn_error *error) {
    TAKE(model->bounds, &model->arena, graph->entry_count + 1);
    for (size_t i = 0; i < graph->entry_count; i++) {
        const char *key = graph->entries[i].key;
        const bool is_most = !strncmp(key, "most.", 5);
        if (!is_most && strncmp(key, "least.", 6)) continue;
        const char *name = strchr(key, '.') + 1;
        Bound *bound = find_bound(model, name);
        if (!bound) bound = &model->bounds[model->bound_count++];
        bound->name = name;
        TRY(find_count(graph, is_most ? "most" : "least", name, 0, is_most ? &bound->most : &bound->least,
                       error));
    }
    const Bound *bound = find_bound(model, "sequence");
    if (bound) model->least_steps = bound->least, model->most_steps = bound->most;
    return EDGERNN_OK;
}

/* Find the sizes of the axes `batch` and `sequence` where they are numbers. */
static void find_constants(edgernn_model *model) {
    for (int kind = 0; kind < 2; kind++)
        for (int out = 0; out < 2; out++) {
            const Side *side = &model->graphs[kind].sides[out];
            for (size_t i = 0; i < side->count; i++)
                for (size_t axis = 0; axis < side->ports[i].facts.rank; axis++) {
                    const Axis *found = &side->ports[i].axes[axis];
                    if (found->size < 0) continue;
                    if (is_batch(found)) model->constant_batch = found->size;
                    if (kind == EDGERNN_SEQUENCE && !strcmp(found->name, "sequence"))
                        model->constant_steps = found->size;
                }
        }
}

/* Check that the two graphs have the same data ports, and each port of the step graph the steps of one
 * hop; name its axis of these steps, which is in the place of the axis of steps. */
static edgernn_status compare_sides(edgernn_model *model, const Side *whole, Side *step, edgernn_error *error) {
    Graph *graph = &model->graphs[EDGERNN_STEP];
    for (size_t i = 0; i < whole->data_count + step->data_count; i++) {
        const char *name = (i < whole->data_count ? &whole->views[i] : &step->views[i - whole->data_count])->name;
        const View *a = find_view(whole->views, whole->data_count, name);
        const View *found = find_view(step->views, step->data_count, name);
        View *b = found ? &step->views[found - step->views] : NULL;
        if (a && !b && a->is_lengths) continue;
        if (!a || !b || a->dtype != b->dtype || (b->rank != a->rank && b->rank + 1 != a->rank))
            return refuse(graph, error, "its graphs do not have the same ports: `%.100s` is in one of them "
                          "only, or another", name);
        if (model->in_hops && a->steps >= 0 && b->steps < 0 && a->rank == b->rank) {
            b->axes[a->steps].name = "hop";
            find_steps(model, b);
        }
        if (a->steps < 0 || model->hop == 1) continue;
        if (b->rank != (a->rate == 1 ? a->rank - 1 : a->rank) ||
            (a->rate > 1 && b->axes[a->steps].size != a->rate))
            return refuse(graph, error, "`%.100s` of the step graph does not hold one hop of the sequence "
                          "graph's port", name);
    }
    return EDGERNN_OK;
}

/* Check delays and tails, and count the hops until all outputs are defined, and those of padding. */
static edgernn_status check_streaming(edgernn_model *model, Graph *graph, edgernn_error *error) {
    bool has_padding = false, lacks_padding = false;
    for (size_t i = 0; i < graph->out.data_count; i++) {
        const View *view = &graph->out.views[i];
        if (view->rate < 1 && (model->hop > 1 || view->delay || view->tail))
            return refuse(graph, error, "output `%.100s` of the %s graph has an axis that is not a "
                          "number of steps for each hop of the input", view->name, graph->kind);
        if (graph != model->main || view->rate < 1) continue;
        const int64_t delay = (view->delay + view->rate - 1) / view->rate;
        const int64_t tail = (view->tail + view->rate - 1) / view->rate;
        if (delay > model->undefined) model->undefined = delay;
        if (tail > model->tail) model->tail = tail;
    }
    if (graph != model->main) return EDGERNN_OK;
    if (model->tail * model->hop > MOST_PADDING)
        return refuse(graph, error, "its tails take more than %" PRId64 " steps of padding", MOST_PADDING);
    for (size_t i = 0; i < graph->in.data_count; i++) {
        has_padding |= graph->in.views[i].has_padding;
        lacks_padding |= graph->in.views[i].steps >= 0 && !graph->in.views[i].has_padding;
    }
    if (!has_padding || lacks_padding) model->tail = 0; /* nothing gives these steps */
    return EDGERNN_OK;
}

/* Read what is said of the whole model in the metadata of one graph. */
static edgernn_status read_contract(edgernn_model *model, Graph *graph, edgernn_error *error) {
    const char *version = find_entry(graph, "contract", NULL);
    const char *kind = find_entry(graph, "graph", NULL);
    const char *carry = find_entry(graph, "carry", NULL), *divisible = find_entry(graph, "divisible", NULL);
    if (!version)
        return fail(error, EDGERNN_CONTRACT_ERROR, "`%s` carries no edgernn contract. Export the "
                    "model with `edgernn export`.", graph->where);
    if (strcmp(version, "1"))
        return fail(error, EDGERNN_CONTRACT_ERROR, "`%s` is of contract version %.60s; this edgernn "
                    "reads version 1. Export the model again, or build with the edgernn.c of the "
                    "edgernn that wrote it.", graph->where, version);
    if (!kind || strcmp(kind, graph->kind))
        return fail(error, EDGERNN_CONTRACT_ERROR, "`%s` is a %.60s graph, not a %s graph. Copy "
                    "the whole folder of the artifact.", graph->where, kind ? kind : "nameless",
                    graph->kind);
    if (graph != model->main) return EDGERNN_OK;
    model->carries = carry && !strcmp(carry, "yes");
    model->divisible = !divisible || !strcmp(divisible, "yes");
    TRY(find_count(graph, "hop", NULL, 1, &model->hop, error));
    if (model->hop < 1 || model->hop > LARGEST_SIZE)
        return refuse(graph, error, "the hop is %" PRId64 "; it must be from 1 to %" PRId64, model->hop,
                      LARGEST_SIZE);
    model->in_hops |= model->hop > 1;
    return EDGERNN_OK;
}

static const char *family_of(const Graph *graph) {
    const char *family = find_entry(graph, "family", NULL);
    return family ? family : "";
}

static edgernn_status read_vocabulary(edgernn_model *model, edgernn_error *error);

/* Give the public facts of ports their shapes and axes. */
static edgernn_status publish_ports(edgernn_model *model, Side *side, edgernn_error *error) {
    for (size_t i = 0; i < side->count; i++) {
        edgernn_port *facts = &side->ports[i].facts;
        int64_t *shape;
        const char **axes;
        TAKE(shape, &model->arena, facts->rank + 1);
        TAKE(axes, &model->arena, facts->rank + 1);
        for (size_t axis = 0; axis < facts->rank; axis++) {
            shape[axis] = side->ports[i].axes[axis].size;
            axes[axis] = side->ports[i].axes[axis].name;
        }
        facts->shape = shape;
        facts->axes = axes;
    }
    return EDGERNN_OK;
}

/* Read the contract of the open graphs, and check it. */
static edgernn_status read_graphs(edgernn_model *model, edgernn_error *error) {
    Graph *step = &model->graphs[EDGERNN_STEP], *graphs[] = {model->main, step};
    const size_t count = step->session && step != model->main ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
        TRY(read_metadata(model, graphs[i], error));
        TRY(read_contract(model, graphs[i], error));
    }
    if (count == 2 && strcmp(family_of(graphs[0]), family_of(step)))
        return fail(error, EDGERNN_CONTRACT_ERROR, "`%s` is of family %.40s, `%s` of %.40s. Graphs "
                    "of two exports must not be mixed; copy the whole folder.", step->where,
                    family_of(step), graphs[0]->where, family_of(graphs[0]));
    for (size_t i = 0; i < count; i++) {
        TRY(read_ports(model, graphs[i], INPUTS, error));
        TRY(read_ports(model, graphs[i], OUTPUTS, error));
        TRY(pair_states(model, graphs[i], error));
        TRY(read_states(model, graphs[i], error));
    }
    TRY(read_bounds(model, model->main, error));
    find_constants(model);
    if (model->constant_steps % model->hop)
        return refuse(model->main, error, "it takes %" PRId64 " step%s, which are not whole hops of %" PRId64,
                      model->constant_steps, plural(model->constant_steps), model->hop);
    for (size_t i = 0; i < count; i++)
        for (int out = 0; out < 2; out++) TRY(view_ports(model, graphs[i], &graphs[i]->sides[out], error));
    for (int out = 0; count == 2 && out < 2; out++)
        TRY(compare_sides(model, &graphs[0]->sides[out], &step->sides[out], error));
    for (size_t i = 0; i < count; i++) {
        for (int out = 0; out < 2; out++) TRY(publish_ports(model, &graphs[i]->sides[out], error));
        TRY(check_streaming(model, graphs[i], error));
    }
    TRY(view_calls(model, error));
    return read_vocabulary(model, error);
}

/* ---- The library and its sessions -------------------------------------------------------------- */

#ifdef _WIN32
/* Return a UTF-8 text in UTF-16, in memory of an arena. */
static wchar_t *widen(Arena *arena, const char *text) {
    const int size = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
    wchar_t *wide = size > 0 ? take(arena, (size_t)size, sizeof *wide) : NULL;
    if (wide) MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, size);
    return wide;
}

static const PathCharacter *native_path(Arena *arena, const char *path) { return widen(arena, path); }

static FILE *open_file(const char *path) {
    Arena arena = {NULL};
    wchar_t *wide = widen(&arena, path);
    FILE *file = wide ? _wfopen(wide, L"rb") : NULL;
    free_arena(&arena);
    return file;
}

static bool is_file(const char *path) {
    Arena arena = {NULL};
    wchar_t *wide = widen(&arena, path);
    const DWORD found = wide ? GetFileAttributesW(wide) : INVALID_FILE_ATTRIBUTES;
    free_arena(&arena);
    return found != INVALID_FILE_ATTRIBUTES && !(found & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_DEVICE));
}

static const char *const LIBRARY_NAMES[] = {"onnxruntime.dll"};

static Function load_symbol(const char *path, char *reason, size_t size) {
    Arena arena = {NULL};
    const bool has_folder = strpbrk(path, "\\/") != NULL;
    wchar_t *wide = widen(&arena, path);
    HMODULE library =
        wide ? LoadLibraryExW(wide, NULL, has_folder ? LOAD_WITH_ALTERED_SEARCH_PATH : 0) : NULL;
    Function found = library ? (Function)(void (*)(void))GetProcAddress(library, "OrtGetApiBase") : NULL;
    if (!library) snprintf(reason, size, "Windows' error %lu", GetLastError());
    else if (!found) snprintf(reason, size, "it has no function OrtGetApiBase");
    free_arena(&arena);
    return found;
}

/* Write the folder of the program or of this library, with a separator at its end. */
static bool find_folder(bool of_program, char *folder) {
    wchar_t wide[MOST_PATH];
    HMODULE module = NULL;
    if (!of_program &&
        !GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                                GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                            (const wchar_t *)(const void *)LIBRARY_NAMES, &module))
        return false;
    const DWORD length = GetModuleFileNameW(module, wide, MOST_PATH);
    if (!length || length >= MOST_PATH) return false;
    if (!WideCharToMultiByte(CP_UTF8, 0, wide, -1, folder, MOST_PATH, NULL, NULL)) return false;
    char *end = strrchr(folder, '\\');
    if (end) end[1] = 0;
    return end != NULL;
}
#else
static const PathCharacter *native_path(Arena *arena, const char *path) {
    return copy_text(arena, path, strlen(path));
}

static FILE *open_file(const char *path) {
    return fopen(path, "rb");
}

static bool is_file(const char *path) {
    struct stat found;
    return !stat(path, &found) && S_ISREG(found.st_mode);
}

#ifdef __APPLE__
static const char *const LIBRARY_NAMES[] = {"libonnxruntime.dylib"};
#else
static const char *const LIBRARY_NAMES[] = {"libonnxruntime.so", "libonnxruntime.so.1"};
#endif

static Function load_symbol(const char *path, char *reason, size_t size) {
    Function found = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol = NULL;
    if (library) symbol = dlsym(library, "OrtGetApiBase");
    if (symbol) memcpy(&found, &symbol, sizeof found);
    if (!found) snprintf(reason, size, "%s", dlerror());
    return found; /* the library stays: ONNX Runtime's threads and globals outlive a model */
}

/* Write the folder of the program or of this library, with a separator at its end. */
static bool find_folder(bool of_program, char *folder) {
    if (of_program) {
#ifdef __APPLE__
        uint32_t size = MOST_PATH;
        if (_NSGetExecutablePath(folder, &size)) return false;
#else
        const ssize_t length = readlink("/proc/self/exe", folder, MOST_PATH - 1);
        if (length < 0) return false;
        folder[length] = 0;
#endif
    } else {
        Dl_info info;
        if (!dladdr(LIBRARY_NAMES, &info) || !info.dli_fname) return false;
        if (strlen(info.dli_fname) >= MOST_PATH) return false;
        memcpy(folder, info.dli_fname, strlen(info.dli_fname) + 1);
    }
    char *end = strrchr(folder, '/');
    if (end) end[1] = 0;
    return end != NULL;
}
#endif

/* Look for the library beside the program and this library, then where the system's loader looks. */
static Function search_symbol(char *reason, size_t size) {
    static const char *const folders[] = {"", "lib/", "../lib/"};
    char folder[MOST_PATH], path[MOST_PATH + 64], other[256];
    Function found;
    for (int of_program = 0; of_program < 2; of_program++)
        for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
            for (size_t j = 0; j < sizeof LIBRARY_NAMES / sizeof *LIBRARY_NAMES; j++) {
                if (!find_folder(of_program, folder)) continue;
                snprintf(path, sizeof path, "%s%s%s", folder, folders[i], LIBRARY_NAMES[j]);
                if (is_file(path) && (found = load_symbol(path, reason, size))) return found;
            }
    for (size_t j = 0; j < sizeof LIBRARY_NAMES / sizeof *LIBRARY_NAMES; j++)
        if ((found = load_symbol(LIBRARY_NAMES[j], j ? other : reason, j ? sizeof other : size)))
            return found;
    return NULL;
}

/* Load ONNX Runtime and take its functions. */
static edgernn_status load_api(edgernn_model *model, const edgernn_options *options,
                               edgernn_error *error) {
    const Base *base = options->api_base;
    const char *path = options->library;
    char reason[512] = "";
    if (!base) {
        if (!path || !*path) path = getenv("ONNXRUNTIME_LIBRARY");
        const bool is_named = path && *path;
        const Function symbol = is_named ? load_symbol(path, reason, sizeof reason)
                                         : search_symbol(reason, sizeof reason);
        if (!symbol && is_named)
            return fail(error, EDGERNN_PROVIDER_ERROR, "`%.300s` is not ONNX Runtime: %s. Give the "
                        "path of its shared library.", path, reason);
        if (!symbol)
            return fail(error, EDGERNN_PROVIDER_ERROR, "ONNX Runtime's library is not beside the "
                        "program nor where the system looks: %s. Give its path in the options or "
                        "in the environment variable ONNXRUNTIME_LIBRARY.", reason);
        base = ((const Base *(ORT_CALL *)(void))symbol)();
    }
    const Function *table = base->get_api(API_VERSION);
    if (!table)
        return fail(error, EDGERNN_PROVIDER_ERROR, "ONNX Runtime %s is older than 1.%d, the first "
                    "version that this program can use. Give a later one.", base->get_version(),
                    (int)API_VERSION);
#define ASSIGN(place, name, result, arguments) memcpy(&model->api.name, &table[place], sizeof(Function));
    FUNCTIONS(ASSIGN)
    snprintf(model->version, sizeof model->version, "%s", base->get_version());
    return EDGERNN_OK;
}

/* Our name, ONNX Runtime's, and that which the call for other providers than CUDA takes. */
static const struct {
    const char *name, *full, *generic;
} PROVIDERS[] = {{"cpu", "CPUExecutionProvider", ""},
                 {"cuda", "CUDAExecutionProvider", ""},
                 {"tensorrt", "TensorrtExecutionProvider", ""},
                 {"openvino", "OpenVINOExecutionProvider", "OpenVINO"},
                 {"directml", "DmlExecutionProvider", "DML"},
                 {"coreml", "CoreMLExecutionProvider", "CoreML"},
                 {"xnnpack", "XnnpackExecutionProvider", "XNNPACK"},
                 {"qnn", "QNNExecutionProvider", "QNN"},
                 {"webgpu", "WebGpuExecutionProvider", "WebGPU"}};
enum {
    PROVIDER_COUNT = sizeof PROVIDERS / sizeof *PROVIDERS,
    MOST_OPTIONS = 64,
    STRICT_MINOR = 16 /* the first version with session.disable_cpu_ep_fallback */
};

typedef struct Provider {
    size_t place; /* in PROVIDERS */
    const char *keys[MOST_OPTIONS], *values[MOST_OPTIONS];
    size_t count;
} Provider;

/* Check that this library has the provider, and name those that it has. */
static edgernn_status find_available(const edgernn_model *model, const char *full, const char *name,
                                     edgernn_error *error) {
    char **available = NULL, list[512] = "";
    int count = 0;
    bool found = false;
    ORT(EDGERNN_PROVIDER_ERROR, "ONNX Runtime cannot list its providers",
        GetAvailableProviders(&available, &count));
    for (int i = 0; i < count; i++) {
        const char *shown = available[i];
        for (size_t j = 0; j < PROVIDER_COUNT; j++)
            if (!strcmp(PROVIDERS[j].full, shown)) shown = PROVIDERS[j].name;
        found |= !strcmp(available[i], full);
        append(list, sizeof list, "%s%s", i ? ", " : "", shown);
    }
    fail_in_runtime(model, model->api.ReleaseAvailableProviders(available, count), EDGERNN_OK, "", NULL);
    if (found) return EDGERNN_OK;
    return fail(error, EDGERNN_PROVIDER_ERROR, "`%s` does not run here: this ONNX Runtime %s "
                "has %s. Give the library of a build that has it.", name, model->version, list);
}

/* Read a provider as `cuda:device_id=1,use_tf32=0`. */
static edgernn_status read_provider(edgernn_model *model, const char *written, Provider *provider,
                                    edgernn_error *error) {
    const size_t size = strcspn(written, ":");
    char known[160] = "";
    for (provider->place = 0; provider->place < PROVIDER_COUNT; provider->place++) {
        const char *name = PROVIDERS[provider->place].name;
        if (strlen(name) == size && !memcmp(name, written, size)) break;
        append(known, sizeof known, "%s%s", provider->place ? ", " : "", name);
    }
    if (provider->place == PROVIDER_COUNT)
        return fail(error, EDGERNN_PROVIDER_ERROR, "`%.60s` is not a provider; known are: %s.",
                    written, known);
    if (provider->place == 1) provider->keys[0] = "use_tf32", provider->values[0] = "0",
                              provider->count = 1; /* rounds products to 10 bits */
    const char *at = written + size + (written[size] == ':');
    while (*at) {
        const size_t length = strcspn(at, ","), key = strcspn(at, "=,");
        const char *name = copy_text(&model->arena, at, key);
        const char *value = copy_text(&model->arena, at + key + 1, key < length ? length - key - 1 : 0);
        size_t place = 0;
        if (!name || !value) return fail_memory(error);
        if (!key || key == length || provider->count == MOST_OPTIONS || !provider->place)
            return fail(error, EDGERNN_PROVIDER_ERROR, "`%.100s` has the option `%.*s`; %s", written,
                        (int)(length < 60 ? length : 60), at,
                        provider->place ? "options are written as `cuda:device_id=1,use_tf32=0`."
                                        : "the provider cpu has none.");
        while (place < provider->count && strcmp(provider->keys[place], name)) place++;
        provider->keys[place] = name;
        provider->values[place] = value;
        if (place == provider->count) provider->count++;
        at += length + (at[length] == ',');
    }
    snprintf(model->provider, sizeof model->provider, "%s", PROVIDERS[provider->place].name);
    const char *minor = strchr(model->version, '.');
    if (provider->place && !strncmp(model->version, "1.", 2) && minor && atoi(minor + 1) < STRICT_MINOR)
        return fail(error, EDGERNN_PROVIDER_ERROR, "ONNX Runtime %s cannot refuse to run a node of `%s` "
                    "on the CPU. Give 1.%d or later.", model->version, model->provider,
                    (int)STRICT_MINOR);
    return find_available(model, PROVIDERS[provider->place].full, model->provider, error);
}

/* Add a provider other than the CPU to the options of a session. */
static OrtStatus *append_provider(const Api *api, OrtSessionOptions *options, const Provider *provider) {
    const char *name = PROVIDERS[provider->place].name;
#define APPEND(kind)                                                                                   \
    do {                                                                                               \
        Ort##kind##ProviderOptionsV2 *own = NULL;                                                      \
        OrtStatus *status = api->Create##kind##ProviderOptions(&own);                                  \
        if (status) return status;                                                                     \
        status = api->Update##kind##ProviderOptions(own, provider->keys, provider->values, provider->count); \
        if (!status) status = api->SessionOptionsAppendExecutionProvider_##kind##_V2(options, own);    \
        api->Release##kind##ProviderOptions(own);                                                      \
        return status;                                                                                 \
    } while (0)
    if (!strcmp(name, "cuda")) APPEND(CUDA);
    if (!strcmp(name, "tensorrt")) APPEND(TensorRT);
    return api->SessionOptionsAppendExecutionProvider(options, PROVIDERS[provider->place].generic,
                                                      provider->keys, provider->values, provider->count);
}

/* Set what edgernn's Python runtime sets as well, so that both give the same numbers. */
static OrtStatus *set_options(const edgernn_model *model, OrtSessionOptions *options, bool is_step,
                              int32_t threads, const Provider *provider) {
    const Api *api = &model->api;
    OrtStatus *status = api->SetSessionLogSeverityLevel(options, LOG_FATAL);
    if (!status) status = api->SetIntraOpNumThreads(options, threads ? threads : 1);
    if (!status) status = api->SetInterOpNumThreads(options, 1);
    if (!status)
        status = api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0");
    if (!status && !is_step) status = api->DisableMemPattern(options); /* grows as lengths vary */
    if (status || !provider->place) return status;
    status = api->AddSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1");
    return status ? status : append_provider(api, options, provider);
}

/* What is opened: a file, or a graph in memory. */
typedef struct Source {
    const char *path;
    const void *bytes;
    size_t size;
} Source;

/* Open a session of one graph. */
static edgernn_status open_session(edgernn_model *model, Graph *graph, const Source *source,
                                   int32_t threads, const Provider *provider,
                                   edgernn_error *error) {
    char subject[600];
    const Api *api = &model->api;
    OrtSessionOptions *options = NULL;
    OrtStatus *status = api->CreateSessionOptions(&options);
    const PathCharacter *path = source->path ? native_path(&model->arena, source->path) : NULL;
    if (source->path && !path) return fail_memory(error);
    if (!status)
        status = set_options(model, options, graph == &model->graphs[EDGERNN_STEP], threads, provider);
    if (!status && path) status = api->CreateSession(model->env, path, options, &graph->session);
    else if (!status)
        status = api->CreateSessionFromArray(model->env, source->bytes, source->size, options,
                                             &graph->session);
    if (options) api->ReleaseSessionOptions(options);
    if (!provider->place)
        snprintf(subject, sizeof subject, "`%.400s` cannot be loaded by ONNX Runtime %s",
                 graph->where, model->version);
    else
        snprintf(subject, sizeof subject, "`%s` does not run `%.400s`", model->provider,
                 graph->where);
    return fail_in_runtime(model, status,
                           provider->place ? EDGERNN_PROVIDER_ERROR : EDGERNN_CONTRACT_ERROR,
                           subject, error);
}

/* ---- Models ------------------------------------------------------------------------------------ */

static void release_model(edgernn_model *model) {
    if (!model || TAKE_ONE(&model->references)) return;
    for (int kind = 0; kind < 2; kind++)
        if (model->graphs[kind].session) model->api.ReleaseSession(model->graphs[kind].session);
    if (model->memory) model->api.ReleaseMemoryInfo(model->memory);
    if (model->env) model->api.ReleaseEnv(model->env);
    free_arena(&model->arena);
    free(model);
}

/* Open a single file at the place of the step graph where it is one, with the options of a step. */
static edgernn_status sort_source(edgernn_model *model, const Source *source, int32_t threads,
                                  const Provider *provider, edgernn_error *error) {
    Graph *graph = &model->graphs[EDGERNN_SEQUENCE], *step = &model->graphs[EDGERNN_STEP];
    TRY(read_metadata(model, graph, error));
    const char *kind = find_entry(graph, "graph", NULL);
    if (!kind || strcmp(kind, "step")) return EDGERNN_OK;
    model->api.ReleaseSession(graph->session);
    graph->session = NULL;
    graph->entry_count = 0;
    return open_session(model, step, source, threads, provider, error);
}

/* Find the file of a graph in a folder; an .ort file is one for a reduced build. */
static edgernn_status find_file(edgernn_model *model, const char *folder, const char *kind, Source *source,
                                edgernn_error *error) {
    static const char *const endings[] = {"onnx", "ort"};
    const size_t size = strlen(folder) + 32;
    char *path;
    TAKE(path, &model->arena, size);
    for (size_t i = 0; i < 2 && !source->path; i++) {
        snprintf(path, size, "%s/%s.%s", folder, kind, endings[i]);
        if (is_file(path)) source->path = path;
    }
    return EDGERNN_OK;
}

/* Find the files of a path: a folder, or a single graph, which is at the place of the sequence graph. */
static edgernn_status find_sources(edgernn_model *model, const char *path, Source *sources,
                                   edgernn_error *error) {
    if (is_file(path)) return sources[EDGERNN_SEQUENCE].path = path, EDGERNN_OK;
    TRY(find_file(model, path, "sequence", &sources[EDGERNN_SEQUENCE], error));
    TRY(find_file(model, path, "step", &sources[EDGERNN_STEP], error));
    if (!sources[EDGERNN_SEQUENCE].path && !sources[EDGERNN_STEP].path)
        return fail(error, EDGERNN_CONTRACT_ERROR, "`%.400s` has neither sequence.onnx nor "
                    "step.onnx. Give the folder of an artifact, or one of its graphs.", path);
    model->folder = copy_text(&model->arena, path, strlen(path));
    return model->folder ? EDGERNN_OK : fail_memory(error);
}

/* Open a model from its files, or from graphs in memory where `path` is NULL. */
static edgernn_status open_model(edgernn_model *model, const char *path, Source *sources,
                                 const edgernn_options *options, edgernn_error *error) {
    static const char *const kinds[] = {"sequence", "step"};
    static const char *const nameless[] = {"the sequence graph", "the step graph"};
    static const char silent[] = "ONNX Runtime cannot start";
    const char *written = options->provider && *options->provider ? options->provider : "cpu";
    Provider provider = {0};
    if (path) TRY(find_sources(model, path, sources, error));
    if (options->threads < 0 || options->threads > MOST_THREADS)
        return fail(error, EDGERNN_INPUT_ERROR, "`threads` is %" PRId32 "; it must be at least 1 "
                    "and at most %d, or 0 for 1.", options->threads, (int)MOST_THREADS);
    TAKE(model->symbols, &model->arena, 16);
    model->symbol_capacity = 16;
    model->symbol_count = 3;
    model->symbols[0] = "", model->symbols[BATCH] = "batch", model->symbols[SEQUENCE] = "sequence";
    TRY(load_api(model, options, error));
    ORT(EDGERNN_PROVIDER_ERROR, silent, CreateEnv(LOG_FATAL, "edgernn", &model->env));
    ORT(EDGERNN_PROVIDER_ERROR, silent, GetAllocatorWithDefaultOptions(&model->allocator));
    ORT(EDGERNN_PROVIDER_ERROR, silent, CreateCpuMemoryInfo(ARENA_ALLOCATOR, DEFAULT_MEMORY, &model->memory));
    TRY(read_provider(model, written, &provider, error));
    const bool is_single = path && !model->folder;
    for (int kind = 0; kind < 2; kind++) {
        Graph *graph = &model->graphs[kind];
        const char *where = is_single ? path : sources[kind].path ? sources[kind].path : nameless[kind];
        graph->kind = kinds[kind];
        if (!(graph->where = copy_text(&model->arena, where, strlen(where)))) return fail_memory(error);
    }
    for (int kind = 0; kind < 2; kind++)
        if (sources[kind].path || sources[kind].bytes)
            TRY(open_session(model, &model->graphs[kind], &sources[kind], options->threads, &provider, error));
    if (is_single) TRY(sort_source(model, &sources[0], options->threads, &provider, error));
    model->main = &model->graphs[model->graphs[EDGERNN_SEQUENCE].session ? EDGERNN_SEQUENCE : EDGERNN_STEP];
    return read_graphs(model, error);
}

/* Make a model and open it; on failure nothing of it stays. */
static edgernn_status make_model(const char *path, Source *sources, const edgernn_options *options,
                                 edgernn_model **result, edgernn_error *error) {
    static const edgernn_options defaults;
    edgernn_model *model = calloc(1, sizeof *model);
    if (!model) return fail_memory(error);
    ADD_ONE(&model->references);
    const edgernn_status status = open_model(model, path, sources, options ? options : &defaults, error);
    if (status) release_model(model);
    else *result = model;
    return status;
}

edgernn_status edgernn_open(const char *path, const edgernn_options *options, edgernn_model **model,
                            edgernn_error *error) {
    Source sources[2] = {{0}};
    clear(error);
    if (!path || !model)
        return fail(error, EDGERNN_INPUT_ERROR, "`%s` is NULL. Give the path of an artifact and a "
                    "place for the model.", path ? "model" : "path");
    return make_model(path, sources, options, model, error);
}

edgernn_status edgernn_open_memory(const void *sequence, size_t sequence_size, const void *step,
                                   size_t step_size, const edgernn_options *options,
                                   edgernn_model **model, edgernn_error *error) {
    Source sources[2] = {{NULL, sequence, sequence_size}, {NULL, step, step_size}};
    clear(error);
    if (!model) return fail(error, EDGERNN_INPUT_ERROR, "`model` is NULL. Give a place for it.");
    if ((!sequence || !sequence_size) && (!step || !step_size))
        return fail(error, EDGERNN_CONTRACT_ERROR, "There is no graph. Give the bytes of "
                    "sequence.onnx, of step.onnx or of both.");
    return make_model(NULL, sources, options, model, error);
}

void edgernn_close(edgernn_model *model) {
    release_model(model);
}

static const Graph *graph_of(const edgernn_model *model, edgernn_graph graph) {
    static const Graph none;
    return model && (graph == EDGERNN_SEQUENCE || graph == EDGERNN_STEP) ? &model->graphs[graph] : &none;
}

bool edgernn_has_graph(const edgernn_model *model, edgernn_graph graph) {
    return graph_of(model, graph)->session != NULL;
}

size_t edgernn_input_count(const edgernn_model *model, edgernn_graph graph) {
    return graph_of(model, graph)->in.count;
}

size_t edgernn_output_count(const edgernn_model *model, edgernn_graph graph) {
    return graph_of(model, graph)->out.count;
}

static const edgernn_port *port_of(const Side *side, size_t place) {
    return place < side->count ? &side->ports[place].facts : NULL;
}

const edgernn_port *edgernn_input(const edgernn_model *model, edgernn_graph graph, size_t place) {
    return port_of(&graph_of(model, graph)->in, place);
}

const edgernn_port *edgernn_output(const edgernn_model *model, edgernn_graph graph, size_t place) {
    return port_of(&graph_of(model, graph)->out, place);
}

const char *edgernn_metadata(const edgernn_model *model, const char *key) {
    if (!model || !key) return NULL;
    const char *value = find_entry(model->main, key, NULL);
    return value ? value : find_entry(&model->graphs[EDGERNN_STEP], key, NULL);
}

size_t edgernn_hop(const edgernn_model *model) {
    return model ? (size_t)model->hop : 0;
}

bool edgernn_carries(const edgernn_model *model) {
    return model && model->carries;
}

const char *edgernn_provider(const edgernn_model *model) {
    return model ? model->provider : NULL;
}

const char *edgernn_onnxruntime_version(const edgernn_model *model) {
    return model ? model->version : NULL;
}

/* ---- Vocabulary -------------------------------------------------------------------------------- */

static uint32_t code_point(const unsigned char *text, size_t size) {
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t code = text[0] & masks[size];
    for (size_t i = 1; i < size; i++) code = code << 6 | (text[i] & 0x3F);
    return code;
}

/* Return whether Python's str.split takes a character for white space. */
static bool is_space(uint32_t code) {
    return (code >= 9 && code <= 13) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
           code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

/* Return the bytes of the character at a place of a text in UTF-8, and whether it is a space. */
static size_t next_character(const char *text, size_t left, bool *space) {
    const size_t size = character_size((const unsigned char *)text, left);
    *space = size && is_space(code_point((const unsigned char *)text, size));
    return size ? size : 1;
}

static int compare_symbols(const void *a, const void *b) {
    const Symbol *first = a, *second = b;
    const size_t size = first->size < second->size ? first->size : second->size;
    const int order = memcmp(first->text, second->text, size);
    return order ? order : (first->size > second->size) - (first->size < second->size);
}

/* Find out whether the symbols are words: none has white space, most have several characters. */
static void find_words(edgernn_model *model) {
    size_t several = 0;
    model->has_words = true;
    for (size_t i = 0; i < model->ordinary_count; i++) {
        const Symbol *symbol = &model->by_text[i];
        size_t characters = 0;
        for (size_t at = 0; at < symbol->size; characters++) {
            bool space;
            at += next_character(symbol->text + at, symbol->size - at, &space);
            if (space) model->has_words = false;
        }
        several += characters > 1;
    }
    if (2 * several <= model->ordinary_count) model->has_words = false;
}

/* Split the lines of `edgernn.vocabulary` into symbols; `\n`, `\r`, `\0` and `\\` are escapes. */
static edgernn_status split_symbols(edgernn_model *model, const char *lines, edgernn_error *error) {
    size_t count = 1;
    char *text;
    for (const char *at = lines; *at; at++) count += *at == '\n';
    TAKE(model->vocabulary, &model->arena, count);
    TAKE(model->by_text, &model->arena, count);
    TAKE(text, &model->arena, strlen(lines) + 2);
    for (size_t id = 0; id < count; id++, lines++) {
        const char *start = text;
        for (; *lines && *lines != '\n'; lines++) {
            static const char codes[] = "\\nr0", characters[] = "\\\n\r";
            const char *code = *lines == '\\' && lines[1] ? strchr(codes, lines[1]) : NULL;
            *text++ = code ? characters[code - codes] : *lines;
            lines += code != NULL;
        }
        model->vocabulary[id] = (Symbol){start, (size_t)(text - start), (int64_t)id};
        *text++ = 0;
    }
    model->vocabulary_size = count;
    return EDGERNN_OK;
}

static edgernn_status read_vocabulary(edgernn_model *model, edgernn_error *error) {
    const char *lines = find_entry(model->main, "vocabulary", NULL);
    if (!lines) return EDGERNN_OK;
    TRY(split_symbols(model, lines, error));
    TRY(find_count(model->main, "vocabulary", "unknown", -1, &model->unknown, error));
    TRY(find_count(model->main, "vocabulary", "padding", -1, &model->padding, error));
    for (size_t id = 0; id < model->vocabulary_size; id++)
        if ((int64_t)id != model->unknown && (int64_t)id != model->padding)
            model->by_text[model->ordinary_count++] = model->vocabulary[id];
    qsort(model->by_text, model->ordinary_count, sizeof *model->by_text, compare_symbols);
    find_words(model);
    return EDGERNN_OK;
}

size_t edgernn_vocabulary_size(const edgernn_model *model) {
    return model ? model->vocabulary_size : 0;
}

const char *edgernn_symbol(const edgernn_model *model, int64_t id) {
    const bool is_known = model && id >= 0 && (uint64_t)id < model->vocabulary_size;
    return is_known ? model->vocabulary[id].text : NULL;
}

/* Return the id of the longest symbol at a place of a text, -1 where none fits. The symbols that
 * begin with the first bytes are a range of the sorted ones, which gets shorter with each byte. */
static int64_t longest_symbol(const edgernn_model *model, const char *text, size_t left,
                              size_t *size) {
    size_t first = 0, end = model->ordinary_count;
    int64_t found = -1;
    for (size_t depth = 0; depth < left && first < end; depth++) {
        const int wanted = (unsigned char)text[depth];
        for (int side = 0; side < 2; side++) { /* the first not below, then the first above */
            size_t low = first, high = end;
            while (low < high) {
                const size_t middle = low + (high - low) / 2;
                const Symbol *symbol = &model->by_text[middle];
                const int byte = symbol->size > depth ? (unsigned char)symbol->text[depth] : -1;
                if (side ? byte <= wanted : byte < wanted) low = middle + 1;
                else high = middle;
            }
            if (side) end = low;
            else first = low;
        }
        if (first == end || model->by_text[first].size != depth + 1) continue;
        found = model->by_text[first].id;
        *size = depth + 1;
    }
    return found;
}

/* Write the ids of a piece of text without separators; *count goes on from its value. */
static bool encode_piece(const edgernn_model *model, const char *text, size_t size, int64_t *ids,
                         size_t capacity, size_t *count, size_t *unfit) {
    const size_t start = *count;
    for (size_t at = 0; at < size;) {
        size_t step = 1;
        bool space;
        int64_t id = longest_symbol(model, text + at, size - at, &step);
        if (id < 0) {
            *unfit = model->has_words ? 0 : at;
            if (model->unknown < 0) return false;
            id = model->unknown;
            step = next_character(text + at, size - at, &space);
            if (model->has_words) { /* the whole word is one unknown symbol */
                *count = start;
                step = size - at;
            }
        }
        if (*count < capacity) ids[*count] = id;
        ++*count;
        at += step;
    }
    return true;
}

/* Write the ids of a text and count them. */
static edgernn_status encode_text(const edgernn_model *model, const char *text, size_t size,
                                  int64_t *ids, size_t capacity, size_t *count,
                                  edgernn_error *error) {
    *count = 0;
    for (size_t at = 0; at < size;) {
        size_t end = at, unfit = 0, place = 0, shown = 0;
        bool space = false;
        while (end < size) {
            const size_t step = next_character(text + end, size - end, &space);
            if (model->has_words && space) break;
            end += step;
        }
        if (end == at) {
            at += next_character(text + at, size - at, &space);
            continue;
        }
        if (!encode_piece(model, text + at, end - at, ids, capacity, count, &unfit)) {
            for (size_t i = 0; i < at + unfit; i++) place += ((unsigned char)text[i] & 0xC0) != 0x80;
            shown = model->has_words ? end - at : next_character(text + at + unfit, end - at - unfit, &space);
            return fail(error, EDGERNN_INPUT_ERROR, "`%.*s` at position %zu of the text is not in "
                        "the vocabulary of %zu symbols, which has no unknown symbol. Give text of "
                        "its symbols only.", (int)(shown < 100 ? shown : 100), text + at + unfit,
                        place, model->vocabulary_size);
        }
        at = end;
    }
    return EDGERNN_OK;
}

static edgernn_status check_vocabulary(const edgernn_model *model, bool is_complete,
                                       edgernn_error *error) {
    clear(error);
    if (!model || !is_complete)
        return fail(error, EDGERNN_INPUT_ERROR, "An argument is NULL. Give the model, the text or "
                    "the ids, and a place for the result.");
    if (!model->vocabulary_size)
        return fail(error, EDGERNN_INPUT_ERROR, "The model has no vocabulary. Export it with "
                    "`--vocabulary`, or feed ids.");
    return EDGERNN_OK;
}

edgernn_status edgernn_encode(const edgernn_model *model, const char *text, size_t size,
                              int64_t *ids, size_t capacity, size_t *count, edgernn_error *error) {
    size_t found;
    TRY(check_vocabulary(model, (text || !size) && (ids || !capacity) && count, error));
    if (!is_utf8(text ? text : "", size))
        return fail(error, EDGERNN_INPUT_ERROR, "The text is not UTF-8. Encode it in UTF-8.");
    TRY(encode_text(model, text, size, NULL, 0, &found, error));
    TRY(encode_text(model, text, size, ids, capacity, &found, error));
    *count = found;
    return EDGERNN_OK;
}

edgernn_status edgernn_decode(const edgernn_model *model, const int64_t *ids, size_t count,
                              char *text, size_t capacity, size_t *size, edgernn_error *error) {
    TRY(check_vocabulary(model, (ids || !count) && (text || !capacity) && size, error));
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (uint64_t)ids[i] >= model->vocabulary_size)
            return fail(error, EDGERNN_INPUT_ERROR, "Id %" PRId64 " is outside the vocabulary, "
                        "which has ids 0 to %zu. Give one of them.", ids[i],
                        model->vocabulary_size - 1);
    size_t whole = 0, end = 0;
    bool first = true, fits = true;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == model->padding) continue;
        const size_t space = model->has_words && !first, length = model->vocabulary[ids[i]].size;
        first = false;
        whole += space + length;
        fits = fits && whole < capacity;
        if (!fits) continue;
        if (space) text[end] = ' ';
        memcpy(text + end + space, model->vocabulary[ids[i]].text, length);
        end = whole;
    }
    if (capacity) text[end] = 0;
    *size = whole;
    return EDGERNN_OK;
}

/* ---- Arrays along their axis of steps ----------------------------------------------------------- */

/* An array as `outer` rows of `steps` pieces of `inner` bytes. */
typedef struct Layout {
    size_t outer, steps, inner;
} Layout;

/* Return the layout of an array; without an axis of steps, all of it is one step. */
static Layout layout_of(const View *view, const int64_t *shape, size_t batch) {
    Layout layout = {1, 1, view->width};
    for (size_t axis = 0; axis < view->rank; axis++) {
        if (view->steps >= 0 && axis == (size_t)view->steps) {
            layout.outer = layout.inner / view->width;
            layout.steps = (size_t)shape[axis];
            layout.inner = view->width;
        } else {
            layout.inner *= (size_t)shape[axis];
        }
    }
    if (view->steps < 0 || !view->flattened || !batch || layout.steps % batch) return layout;
    layout.steps /= batch;
    if (view->batch_outer) layout.outer *= batch;
    else layout.inner *= batch;
    return layout;
}

/* Set the size of the axis of steps. */
static void set_steps(const View *view, int64_t *shape, size_t steps, size_t batch) {
    if (view->steps >= 0)
        shape[view->steps] = (int64_t)(steps * (view->flattened ? batch : 1));
}

/* Put an axis of one step into a shape of `rank` axes. */
static void add_step(const View *view, int64_t *shape, size_t rank) {
    memmove(shape + view->steps + 1, shape + view->steps, (rank - (size_t)view->steps) * sizeof *shape);
    shape[view->steps] = 1;
}

/* Take the axis of steps out of the shape of a view. */
static void drop_steps(const View *view, int64_t *shape) {
    memmove(shape + view->steps, shape + view->steps + 1,
            (view->rank - (size_t)view->steps - 1) * sizeof *shape);
}

/* Return the sizes of the symbols of a call: its batch and steps, -1 for others; NULL without memory. */
static int64_t *make_symbols(const edgernn_stream *stream, int64_t steps, Arena *arena) {
    int64_t *symbols = take(arena, stream->model->symbol_count, sizeof *symbols);
    for (size_t i = 0; symbols && i < stream->model->symbol_count; i++)
        symbols[i] = i == BATCH ? (int64_t)stream->batch : i == SEQUENCE ? steps : -1;
    return symbols;
}

/* Copy `count` steps of an array from `start` on into another, whose rows have `room` steps, to
 * its step `place`. */
static void copy_steps(const Layout *layout, const void *from, size_t start, size_t count, void *to,
                       size_t room, size_t place) {
    for (size_t row = 0; row < layout->outer && count; row++)
        memcpy((char *)to + (row * room + place) * layout->inner,
               (const char *)from + (row * layout->steps + start) * layout->inner,
               count * layout->inner);
}

static const char NOTHING[ALIGNMENT]; /* the data of an array without elements */

/* ---- Checks of inputs --------------------------------------------------------------------------- */

/* What a call takes. */
typedef struct Check {
    const View *views;
    size_t count;
    const char *graph; /* what to call it in messages */
    bool bounds_steps; /* whether the bounds of `sequence` are those of this call */
    int64_t constant_steps; /* of a whole call, 0 where any number is taken */
} Check;

static const char *takes(const Check *check, char *text, size_t size) {
    char one[256];
    snprintf(text, size, "%s", check->count ? "" : "no data inputs");
    for (size_t i = 0; i < check->count; i++)
        append(text, size, "%s`%s`", i ? ", " : "", describe(&check->views[i], one, sizeof one));
    return text;
}

static const char *format_shape(const edgernn_tensor *tensor, char *text, size_t size) {
    snprintf(text, size, "[");
    for (size_t i = 0; i < tensor->rank && i < MOST_RANK; i++)
        append(text, size, "%s%" PRId64, i ? ", " : "", tensor->shape[i]);
    append(text, size, "]");
    return text;
}

/* Find the view of an input; without a name, it is the only one that must be given. */
static edgernn_status find_place(const Check *check, const edgernn_tensor *input, size_t *place,
                                 edgernn_error *error) {
    char text[700];
    size_t required = 0, only = 0;
    for (size_t i = 0; i < check->count; i++) {
        if (input->name && !strcmp(input->name, check->views[i].name)) return *place = i, EDGERNN_OK;
        if (!check->views[i].is_lengths) required++, only = i;
    }
    if (input->name)
        return fail(error, EDGERNN_INPUT_ERROR, "`%.100s` is not an input of the %s, which takes "
                    "%s. Give these.", input->name, check->graph, takes(check, text, sizeof text));
    if (required != 1)
        return fail(error, EDGERNN_INPUT_ERROR, "An input has no name, but the %s takes %s. Name "
                    "each.", check->graph, takes(check, text, sizeof text));
    *place = only;
    return EDGERNN_OK;
}

LIKE_PRINTF(3, 4)
static edgernn_status refuse_input(const View *view, edgernn_error *error, const char *format, ...) {
    char port[256], reason[EDGERNN_MESSAGE_SIZE];
    va_list values;
    va_start(values, format);
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    return fail(error, EDGERNN_INPUT_ERROR, "`%s` %s", describe(view, port, sizeof port), reason);
}

/* Check one axis of an input, and learn the size of its symbol. */
static edgernn_status check_axis(const edgernn_model *model, const Check *check, const View *view,
                                 const edgernn_tensor *input, size_t place, int64_t *symbols,
                                 edgernn_error *error) {
    char shape[256];
    const Axis *axis = &view->axes[place];
    const int64_t size = input->shape[place];
    const bool is_steps = !strcmp(axis->name, "sequence");
    int64_t expected = axis_size(model, axis, symbols);
    if (expected < 0 && axis->symbol && size > 0) expected = symbols[axis->symbol] = size;
    const Bound *bound = is_steps && !check->bounds_steps ? NULL : find_bound(model, axis->name);
    const bool is_wrong = expected >= 0 && size != expected, is_short = bound && size < bound->least;
    if (size > 0 && !is_wrong && !is_short && !(bound && bound->most && size > bound->most)) return EDGERNN_OK;
    format_shape(input, shape, sizeof shape);
    if (size < 1)
        return refuse_input(view, error, "came with shape %s: %s. Give whole arrays.", shape,
                            is_batch(axis) ? "there must be at least one sequence"
                            : is_steps     ? "there must be at least one step" : "no axis may be empty");
    if (is_wrong && !strcmp(axis->name, "hop"))
        return refuse_input(view, error, "came with %" PRId64 " step%s; a hop has %" PRId64 ". Give %" PRId64
                            ", or feed any number of steps: edgernn_feed.", size, plural(size), expected, expected);
    if (is_wrong && check->constant_steps && is_steps)
        return refuse_input(view, error, "came with %" PRId64 " step%s; the %s takes exactly %" PRId64
                            ". Give %" PRId64 "%s.", size, plural(size), check->graph, expected, expected,
                            model->carries && !model->is_limited ? ", or feed any number: edgernn_feed" : "");
    if (is_wrong)
        return refuse_input(view, error, "came with shape %s: axis %zu must be %" PRId64 "%s, not %" PRId64
                            ". Give that many.", shape, place, expected,
                            is_batch(axis) ? ", the batch of this stream"
                            : axis->symbol ? ", as in the other inputs" : "", size);
    return refuse_input(view, error, "came with `%s` %" PRId64 "; the %s takes at %s %" PRId64 ". Give %s.",
                        axis->name, size, check->graph, is_short ? "least" : "most",
                        is_short ? bound->least : bound->most, is_short ? "more" : "fewer");
}

/* Check the ids of an input. */
static edgernn_status check_ids(const View *view, const void *data, size_t count, edgernn_error *error) {
    for (size_t i = 0; view->limit && i < count; i++) {
        const int64_t id = integer_at(data, view->dtype, i);
        if (id < 0 || id >= view->limit)
            return refuse_input(view, error, "has id %" PRId64 " at %zu; the model knows ids 0 to %" PRId64
                                ". Give one of them.", id, i, view->limit - 1);
    }
    return EDGERNN_OK;
}

/* Check one input against its view. */
static edgernn_status check_input(const edgernn_model *model, const Check *check, const View *view,
                                  const edgernn_tensor *input, int64_t *symbols,
                                  edgernn_error *error) {
    char shape[256];
    size_t bytes = 0;
    const bool has_shape = !input->rank || input->shape;
    if (input->dtype != view->dtype)
        return refuse_input(view, error, "came as %s. Give it as %s.", dtype_name(input->dtype),
                            dtype_name(view->dtype));
    if (input->rank != view->rank || !has_shape)
        return refuse_input(view, error, "came with %zu axes%s: it must have %zu. Give its shape.", input->rank,
                            has_shape ? "" : " and no shape", view->rank);
    for (size_t axis = 0; axis < view->rank; axis++)
        TRY(check_axis(model, check, view, input, axis, symbols, error));
    if (!count_bytes(input->shape, input->rank, view->width, &bytes))
        return refuse_input(view, error, "came with shape %s, more than memory holds. Give fewer.",
                            format_shape(input, shape, sizeof shape));
    if (!input->data) return refuse_input(view, error, "came without data, NULL. Give its elements.");
    return check_ids(view, input->data, bytes / view->width, error);
}

/* Make an array of lengths, all of them `steps`. */
static edgernn_status fill_lengths(const View *view, int64_t steps, size_t count, Arena *arena,
                                   const void **data, edgernn_error *error) {
    char *filled = take(arena, count + 1, view->width);
    if (!filled) return fail_memory(error);
    for (size_t i = 0; i < count; i++)
        if (!write_number(filled + i * view->width, view->dtype, (double)steps))
            return fail(error, EDGERNN_INPUT_ERROR, "`%.100s` is %s, which does not hold %" PRId64
                        " steps. Give fewer.", view->name, dtype_name(view->dtype), steps);
    *data = filled;
    return EDGERNN_OK;
}

/* Check the lengths of sequences; where they are not given, all have all steps. */
static edgernn_status check_lengths(const edgernn_model *model, const View *view, const void **data,
                                    int64_t *shape, const int64_t *symbols, Arena *arena,
                                    edgernn_error *error) {
    const int64_t steps = symbols[SEQUENCE] < 0 ? 1 : symbols[SEQUENCE];
    int64_t longest = 0, count = axis_size(model, &view->axes[0], symbols);
    if (count < 0) count = symbols[BATCH];
    if (!*data) {
        shape[0] = count;
        return fill_lengths(view, steps, (size_t)count, arena, data, error);
    }
    for (int64_t i = 0; i < shape[0]; i++) {
        const int64_t length = integer_at(*data, view->dtype, (size_t)i);
        if (length > longest) longest = length;
        if (length < 1 || length > steps)
            return refuse_input(view, error, "has length %" PRId64 " at %" PRId64 "; sequences of this call "
                                "have 1 to %" PRId64 " step%s. Give such lengths.", length, i, steps, plural(steps));
    }
    if (view->is_full && longest < steps)
        return refuse_input(view, error, "has %" PRId64 " as the longest length, but the sequences of this call "
                            "have %" PRId64 " steps, to which the model would pad. Give the first %" PRId64
                            " only.", longest, steps, longest);
    return EDGERNN_OK;
}

/* Check the inputs of a call, and find each by its view. The chunk's arrays are of the arena; they
 * point to the caller's data. `symbols` gets the sizes of the dynamic axes. */
static edgernn_status check_inputs(const edgernn_stream *stream, const Check *check,
                                   const edgernn_tensor *inputs, size_t count, Arena *arena,
                                   Chunk *chunk, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    char text[700];
    int64_t *symbols = make_symbols(stream, check->constant_steps ? check->constant_steps : -1, arena);
    if (!symbols) return fail_memory(error);
    TAKE(chunk->data, arena, check->count + 1);
    TAKE(chunk->shapes, arena, check->count + 1);
    if (count && !inputs)
        return fail(error, EDGERNN_INPUT_ERROR, "`inputs` is NULL, but there are %zu. Give them.", count);
    for (size_t i = 0; i < count; i++) {
        size_t place = 0;
        TRY(find_place(check, &inputs[i], &place, error));
        const View *view = &check->views[place];
        if (chunk->data[place])
            return fail(error, EDGERNN_INPUT_ERROR, "`%.100s` came twice. Give it once.", view->name);
        TRY(check_input(model, check, view, &inputs[i], symbols, error));
        chunk->data[place] = inputs[i].data;
        if (view->rank)
            memcpy(chunk->shapes[place], inputs[i].shape, view->rank * sizeof *inputs[i].shape);
    }
    for (size_t i = 0; i < check->count; i++) {
        const View *view = &check->views[i];
        if (!chunk->data[i] && !view->is_lengths)
            return fail(error, EDGERNN_INPUT_ERROR, "`%.100s` is missing: the %s takes %s. Give all.",
                        view->name, check->graph, takes(check, text, sizeof text));
        for (size_t axis = 0; chunk->data[i] && axis < view->rank; axis++) { /* expressions */
            const edgernn_tensor given = {view->name, view->dtype, view->rank, chunk->shapes[i], NULL};
            TRY(check_axis(model, check, view, &given, axis, symbols, error));
        }
    }
    for (size_t i = 0; i < check->count; i++)
        if (check->views[i].is_lengths)
            TRY(check_lengths(model, &check->views[i], &chunk->data[i], chunk->shapes[i], symbols, arena,
                              error));
    chunk->steps = symbols[SEQUENCE] < 0 ? 1 : symbols[SEQUENCE];
    return EDGERNN_OK;
}

/* ---- Arrays that are made together, and states --------------------------------------------------- */

static size_t state_count(const edgernn_stream *stream) {
    return stream->model->state_count;
}

static void free_arrays(Arrays *result) {
    if (!result) return;
    for (size_t i = 0; result->values && i < result->count; i++)
        if (result->values[i]) result->model->api.ReleaseValue(result->values[i]);
    free_arena(&result->arena);
    free(result);
}

/* Make a number of arrays that are still empty; NULL without memory. */
static Arrays *make_arrays(const edgernn_model *model, size_t count) {
    Arrays *result = calloc(1, sizeof *result);
    if (!result) return NULL;
    result->model = model;
    result->count = count;
    result->tensors = take(&result->arena, count + 1, sizeof *result->tensors);
    result->shapes = take(&result->arena, count + 1, sizeof *result->shapes);
    result->values = take(&result->arena, count + 1, sizeof *result->values);
    result->memory = take(&result->arena, count + 1, sizeof *result->memory);
    if (result->memory && result->tensors && result->shapes && result->values) return result;
    free_arrays(result);
    return NULL;
}

/* Make a tensor of ONNX Runtime's over memory. */
static edgernn_status make_value(const edgernn_model *model, void *data, size_t bytes,
                                 const int64_t *shape, size_t rank, int32_t dtype, OrtValue **value,
                                 edgernn_error *error) {
    return fail_in_runtime(model,
                           model->api.CreateTensorWithDataAsOrtValue(
                               model->memory, data, bytes, shape, rank, dtype, value),
                           EDGERNN_PROVIDER_ERROR, "ONNX Runtime cannot make a tensor", error);
}

/* Make zeroed memory for one of the arrays, and a tensor of ONNX Runtime's over it. */
static edgernn_status make_memory(Arrays *result, size_t place, const char *name, int32_t dtype, size_t rank,
                                  const int64_t *shape, size_t bytes, edgernn_error *error) {
    if (!(result->memory[place] = take(&result->arena, bytes + 1, 1))) return fail_memory(error);
    result->tensors[place] = (edgernn_tensor){name, dtype, rank, shape, result->memory[place]};
    return make_value(result->model, result->memory[place], bytes, shape, rank, dtype, &result->values[place],
                      error);
}

static void copy_states(const edgernn_stream *stream, const Arrays *from, const Arrays *to) {
    for (size_t i = 0; i < state_count(stream); i++)
        memcpy(to->memory[i], from->memory[i], stream->state_bytes[i]);
}

/* Write the initial value of a state for all sequences. */
static void write_initial(const edgernn_stream *stream, size_t place) {
    const State *state = &stream->model->states[place];
    const char *from = state->initial;
    char *to = stream->initial->memory[place];
    size_t batch = 1, inner = state->width, total = stream->state_bytes[place];
    for (size_t axis = 0; axis < state->rank; axis++) {
        const size_t size = (size_t)stream->state_shapes[place][axis];
        if (batch == 1 && !strcmp(state->axes[axis].name, "batch")) batch = size, inner = state->width;
        else inner *= size;
    }
    if (!from || !total) return;
    if ((size_t)state->initial_count * state->width == total) batch = 1, inner = total;
    for (size_t at = 0; at + batch * inner <= total; from += inner)
        for (size_t i = 0; i < batch; i++, at += inner) memcpy(to + at, from, inner);
}

/* Give the states their shapes for the batch, and make the sets of values. */
static edgernn_status make_states(edgernn_stream *stream, edgernn_error *error) {
    const size_t count = state_count(stream);
    TAKE(stream->state_shapes, &stream->arena, count + 1);
    TAKE(stream->state_bytes, &stream->arena, count + 1);
    for (size_t i = 0; i < count; i++) {
        const State *state = &stream->model->states[i];
        for (size_t axis = 0; axis < state->rank; axis++)
            stream->state_shapes[i][axis] =
                state->axes[axis].size < 0 ? (int64_t)stream->batch : state->axes[axis].size;
        if (!count_bytes(stream->state_shapes[i], state->rank, state->width, &stream->state_bytes[i]))
            return fail_memory(error);
    }
    Arrays **sets[] = {&stream->sets[0], &stream->sets[1], &stream->initial, &stream->between, &stream->spare};
    for (size_t set = 0; set < sizeof sets / sizeof *sets; set++) {
        if (!(*sets[set] = make_arrays(stream->model, count))) return fail_memory(error);
        for (size_t i = 0; i < count; i++) {
            const State *state = &stream->model->states[i];
            TRY(make_memory(*sets[set], i, state->input, state->dtype, state->rank, stream->state_shapes[i],
                            stream->state_bytes[i], error));
        }
    }
    for (size_t i = 0; i < count; i++) write_initial(stream, i);
    copy_states(stream, stream->initial, stream->sets[0]);
    return EDGERNN_OK;
}

/* ---- Results ------------------------------------------------------------------------------------ */

/* Make an empty result for the data outputs of a model. A function that makes a result leaves it to its
 * caller to free it, also where it fails. */
static edgernn_status start_result(const edgernn_stream *stream, Arrays **made, edgernn_error *error) {
    *made = make_arrays(stream->model, stream->model->main->out.data_count);
    return *made ? EDGERNN_OK : fail_memory(error);
}

/* Describe an output by the tensor that ONNX Runtime made. */
static edgernn_status read_value(Arrays *result, size_t place, const View *view, edgernn_error *error) {
    const edgernn_model *model = result->model;
    OrtTensorTypeAndShapeInfo *info = NULL;
    void *data = NULL;
    size_t rank = 0, bytes = 0;
    int type = 0, is_tensor = 0;
    OrtStatus *status = model->api.IsTensor(result->values[place], &is_tensor);
    if (!status && is_tensor) status = model->api.GetTensorTypeAndShape(result->values[place], &info);
    if (!status && info) status = model->api.GetTensorElementType(info, &type);
    if (!status && info) status = model->api.GetDimensionsCount(info, &rank);
    if (!status && info && rank && rank <= MOST_RANK)
        status = model->api.GetDimensions(info, result->shapes[place], rank);
    if (!status && info) status = model->api.GetTensorMutableData(result->values[place], &data);
    if (info) model->api.ReleaseTensorTypeAndShapeInfo(info);
    TRY(fail_in_runtime(model, status, EDGERNN_PROVIDER_ERROR, "ONNX Runtime cannot read an output", error));
    if (!is_tensor || type != view->dtype || rank != view->rank ||
        !count_bytes(result->shapes[place], rank, view->width, &bytes))
        return fail(error, EDGERNN_CONTRACT_ERROR, "Output `%.100s` came with another dtype or "
                    "number of axes than its port has. Export the model again.", view->name);
    result->tensors[place] = (edgernn_tensor){view->name, view->dtype, rank, result->shapes[place],
                                              bytes ? data : NOTHING};
    return EDGERNN_OK;
}

/* Put an array of new memory at a place of a result: with `steps` steps, its other axes as in `shape`. */
static edgernn_status make_output(Arrays *result, size_t place, const View *view, const int64_t *shape,
                                  size_t steps, size_t batch, char **data, edgernn_error *error) {
    size_t bytes = 0;
    int64_t *sizes = result->shapes[place];
    if (sizes != shape) memcpy(sizes, shape, view->rank * sizeof *sizes);
    set_steps(view, sizes, steps, batch);
    if (!count_bytes(sizes, view->rank, view->width, &bytes)) return fail_memory(error);
    if (!(*data = take(&result->arena, bytes + 1, 1))) return fail_memory(error);
    result->tensors[place] = (edgernn_tensor){view->name, view->dtype, view->rank, sizes,
                                              bytes ? *data : NOTHING};
    return EDGERNN_OK;
}

/* Make the outputs of a chunk of no hop: no steps, or nothing without an axis of steps. */
static edgernn_status make_empty(const edgernn_stream *stream, Arrays **made, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    TRY(start_result(stream, made, error));
    int64_t *symbols = make_symbols(stream, 0, &(*made)->arena);
    if (!symbols) return fail_memory(error);
    for (size_t i = 0; i < (*made)->count; i++) {
        const View *view = &model->chunks[OUTPUTS][i];
        int64_t shape[SHAPE_SIZE] = {0};
        char *data;
        for (size_t axis = 0; axis < view->rank; axis++) {
            const int64_t size = axis_size(model, &view->axes[axis], symbols);
            shape[axis] = size < 0 ? 0 : size;
        }
        TRY(make_output(*made, i, view, shape, 0, stream->batch, &data, error));
        if (view->steps < 0) (*made)->tensors[i].data = NULL;
    }
    return EDGERNN_OK;
}

/* Return how many of the next steps of an output are not defined, `age` hops after the start. */
static int64_t undefined_steps(const edgernn_model *model, const View *view, int64_t age) {
    if (age >= model->undefined || view->delay <= view->rate * age) return 0;
    return view->delay - view->rate * age;
}

/* Leave out the steps of an output before `start` and from `stop` on. */
static edgernn_status cut_output(Arrays *result, size_t place, const View *view, int64_t start,
                                 int64_t stop, size_t batch, edgernn_error *error) {
    const edgernn_tensor whole = result->tensors[place];
    const Layout layout = layout_of(view, whole.shape, batch);
    const int64_t steps = (int64_t)layout.steps;
    char *data;
    if (start > steps) start = steps;
    if (stop > steps) stop = steps;
    if (stop < start) stop = start;
    if (!start && stop == steps) return EDGERNN_OK;
    TRY(make_output(result, place, view, whole.shape, (size_t)(stop - start), batch, &data, error));
    copy_steps(&layout, whole.data, (size_t)start, (size_t)(stop - start), data,
               (size_t)(stop - start), 0);
    return EDGERNN_OK;
}

/* Leave out what is not defined in the outputs of a chunk, `age` hops after the start. */
static edgernn_status cut_undefined(const edgernn_stream *stream, Arrays *result, int64_t age,
                                    int64_t hops, edgernn_error *error) {
    for (size_t i = 0; age < stream->model->undefined && i < result->count; i++) {
        const View *view = &stream->model->chunks[OUTPUTS][i];
        if (view->steps < 0) {
            if (age + hops <= view->delay) result->tensors[i].data = NULL;
            continue;
        }
        TRY(cut_output(result, i, view, undefined_steps(stream->model, view, age), INT64_MAX,
                       stream->batch, error));
    }
    return EDGERNN_OK;
}

/* ---- Calls of the graphs ------------------------------------------------------------------------ */

/* Put the states where a call of a graph takes and gives them. */
static void bind_states(const Graph *graph, const Arrays *before, const Arrays *after,
                        const OrtValue **inputs, OrtValue **outputs) {
    for (size_t i = 0; i < graph->in.count; i++)
        if (graph->in.ports[i].state) inputs[i] = before->values[graph->in.ports[i].state - 1];
    for (size_t i = 0; i < graph->out.count; i++)
        if (graph->out.ports[i].state) outputs[i] = after->values[graph->out.ports[i].state - 1];
}

/* Call ONNX Runtime. */
static edgernn_status call_graph(const edgernn_model *model, const Graph *graph, const OrtValue **inputs,
                                 OrtValue **outputs, edgernn_error *error) {
    char subject[128];
    OrtStatus *failure = model->api.Run(graph->session, NULL, graph->in.names, inputs, graph->in.count,
                                        graph->out.names, graph->out.count, outputs);
    if (!failure) return EDGERNN_OK;
    snprintf(subject, sizeof subject, "`%s` failed in the %s graph, and no state was changed",
             model->provider, graph->kind);
    return fail_in_runtime(model, failure, EDGERNN_PROVIDER_ERROR, subject, error);
}

/* Run a graph once from one set of states to another.
 *
 * chunk: the data of its inputs by `places`, a place in the chunk for each data input, NULL for the
 * same order. outputs: for each data output NULL, and the tensor that is made. */
static edgernn_status run_graph(edgernn_stream *stream, const Graph *graph, const Chunk *chunk,
                                const size_t *places, const Arrays *before, const Arrays *after,
                                OrtValue **outputs, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    size_t made = 0;
    edgernn_status status = EDGERNN_OK;
    bind_states(graph, before, after, stream->call_inputs, stream->call_outputs);
    for (; !status && made < graph->in.data_count; made++) {
        const size_t place = places ? places[made] : made;
        const View *view = &graph->in.views[made];
        OrtValue **value = &stream->own_inputs[made];
        size_t bytes = 0;
        *value = NULL;
        if (!count_bytes(chunk->shapes[place], view->rank, view->width, &bytes)) status = fail_memory(error);
        else /* inputs are only read */
            status = make_value(model, (void *)(uintptr_t)chunk->data[place], bytes, chunk->shapes[place],
                                view->rank, view->dtype, value, error);
        stream->call_inputs[graph->in.places[made]] = *value;
    }
    for (size_t i = 0; i < graph->out.data_count; i++)
        stream->call_outputs[graph->out.places[i]] = outputs[i];
    if (!status) status = call_graph(model, graph, stream->call_inputs, stream->call_outputs, error);
    for (size_t i = 0; i < graph->out.data_count; i++)
        outputs[i] = stream->call_outputs[graph->out.places[i]];
    while (made--)
        if (stream->own_inputs[made]) model->api.ReleaseValue(stream->own_inputs[made]);
    return status;
}

/* A call of a graph over the steps from `start` to `stop` of a chunk. */
typedef struct Call {
    bool is_step;
    int64_t start, stop;
} Call;

/* Count the calls that run a chunk of whole hops, and find one of them. */
static edgernn_status divide(const edgernn_model *model, int64_t steps, int64_t *count,
                             int64_t place, Call *call, edgernn_error *error) {
    const Graph *step = &model->graphs[EDGERNN_STEP];
    const int64_t hop = model->hop, hops = steps / hop, size = model->constant_steps;
    if (model->main != step && !size && model->most_steps && model->divisible) { /* equal parts */
        const int64_t most = model->most_steps / hop > 1 ? model->most_steps / hop : 1;
        *count = (hops + most - 1) / most;
        *call = (Call){false, hops * place / *count * hop, hops * (place + 1) / *count * hop};
        return EDGERNN_OK;
    }
    const int64_t each = size ? size : steps, blocks = model->main != step && each ? steps / each : 0;
    const int64_t whole = blocks * each, late = whole + (place - blocks) * hop;
    if (whole < steps && !step->session)
        return fail(error, EDGERNN_INPUT_ERROR, "The chunk has %" PRId64 " step%s, but the sequence "
                    "graph takes %" PRId64 " at a time, and there is no step graph for the rest. Feed "
                    "a multiple of %" PRId64 " steps, or export the model without a constant "
                    "`sequence`.", steps, plural(steps), size, size);
    *count = blocks + (steps - whole) / hop;
    *call = place < blocks ? (Call){false, place * each, (place + 1) * each} : (Call){true, late, late + hop};
    return EDGERNN_OK;
}

/* Check that an input of a chunk has as many steps as the chunk. */
static edgernn_status check_steps(const View *view, const Layout *layout, int64_t steps,
                                  edgernn_error *error) {
    if (layout->steps == (size_t)steps) return EDGERNN_OK;
    return fail(error, EDGERNN_INPUT_ERROR, "`%.100s` came with %zu step%s, another input with %" PRId64
                ". Give as many of each.", view->name, layout->steps, plural((int64_t)layout->steps), steps);
}

/* Cut the inputs of one call out of a chunk. */
static edgernn_status cut_inputs(const edgernn_stream *stream, const Chunk *chunk, const Call *call,
                                 Arena *arena, Chunk *part, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const size_t count = model->main->in.data_count, steps = (size_t)(call->stop - call->start);
    const Side *step = &model->graphs[EDGERNN_STEP].in;
    TAKE(part->data, arena, count + 1);
    TAKE(part->shapes, arena, count + 1);
    part->steps = (int64_t)steps;
    for (size_t i = 0; i < count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        const Layout layout = layout_of(view, chunk->shapes[i], stream->batch);
        int64_t *shape = part->shapes[i];
        memcpy(shape, chunk->shapes[i], sizeof *part->shapes);
        part->data[i] = chunk->data[i];
        if (view->is_lengths) {
            TRY(fill_lengths(view, part->steps, (size_t)shape[0], arena, &part->data[i], error));
            continue;
        }
        if (view->steps < 0) continue;
        TRY(check_steps(view, &layout, chunk->steps, error));
        char *data = take(arena, layout.outer * steps * layout.inner + 1, 1);
        if (!data) return fail_memory(error);
        copy_steps(&layout, chunk->data[i], (size_t)call->start, steps, data, steps, 0);
        part->data[i] = data;
        set_steps(view, shape, steps, stream->batch);
        const View *other = call->is_step ? find_view(step->views, step->data_count, view->name) : NULL;
        if (other && other->rank + 1 == view->rank) drop_steps(view, shape);
    }
    return EDGERNN_OK;
}

/* Run one call of several; its result has the shapes of chunks. */
static edgernn_status run_part(edgernn_stream *stream, const Chunk *chunk, const Call *call,
                               const Arrays *before, const Arrays *after, Arena *arena, Arrays **made,
                               edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const Graph *main = model->main, *graph = &model->graphs[call->is_step ? EDGERNN_STEP : EDGERNN_SEQUENCE];
    const View *inputs = model->chunks[INPUTS], *outputs = model->chunks[OUTPUTS];
    Chunk part = *chunk;
    OrtValue **values;
    size_t *places;
    TAKE(values, arena, graph->out.data_count + 1);
    TAKE(places, arena, graph->in.data_count + 1);
    TRY(start_result(stream, made, error));
    if (call->is_step || call->stop - call->start < chunk->steps)
        TRY(cut_inputs(stream, chunk, call, arena, &part, error));
    for (size_t i = 0; i < graph->in.data_count; i++)
        places[i] = (size_t)(find_view(inputs, main->in.data_count, graph->in.views[i].name) - inputs);
    edgernn_status status = run_graph(stream, graph, &part, places, before, after, values, error);
    for (size_t i = 0; i < graph->out.data_count; i++) {
        const View *own = &graph->out.views[i], *view = find_view(outputs, main->out.data_count, own->name);
        const size_t place = (size_t)(view - outputs);
        if (!((*made)->values[place] = values[i]) || status || (status = read_value(*made, place, own, error)))
            continue;
        if (view->steps >= 0 && own->rank + 1 == view->rank)
            add_step(view, (*made)->shapes[place], own->rank);
        (*made)->tensors[place].rank = view->rank;
    }
    return status;
}

/* Join the results of several calls along the axis of steps; without one, the last is taken. */
static edgernn_status join_results(const edgernn_stream *stream, Arrays *const *parts, size_t count,
                                   Arrays *joined, edgernn_error *error) {
    for (size_t i = 0; i < joined->count; i++) {
        const View *view = &stream->model->chunks[OUTPUTS][i];
        size_t last = count - 1, steps = 0, place = 0;
        char *data;
        while (last && !parts[last]->tensors[i].data) last--;
        for (size_t j = 0; j < count && view->steps >= 0; j++)
            steps += layout_of(view, parts[j]->shapes[i], stream->batch).steps;
        TRY(make_output(joined, i, view, parts[last]->shapes[i], steps, stream->batch, &data, error));
        if (!parts[last]->tensors[i].data) joined->tensors[i].data = NULL; /* not defined in any */
        const Layout whole = layout_of(view, joined->shapes[i], stream->batch);
        for (size_t j = view->steps < 0 ? last : 0; j <= last; j++) {
            const Layout layout = layout_of(view, parts[j]->shapes[i], stream->batch);
            if (!parts[j]->tensors[i].data) continue;
            if (layout.outer != whole.outer || layout.inner != whole.inner)
                return fail(error, EDGERNN_CONTRACT_ERROR, "Output `%.100s` has other sizes from "
                            "call to call. Export the model again.", view->name);
            copy_steps(&layout, parts[j]->tensors[i].data, 0, layout.steps, data, whole.steps, place);
            place += layout.steps;
        }
    }
    return EDGERNN_OK;
}

/* Check that no sequence ends within a chunk that is run in several calls. */
static edgernn_status check_whole_lengths(const edgernn_stream *stream, const Chunk *chunk,
                                          edgernn_error *error) {
    const edgernn_model *model = stream->model;
    for (size_t i = 0; i < model->main->in.data_count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        for (int64_t j = 0; view->is_lengths && j < chunk->shapes[i][0]; j++)
            if (integer_at(chunk->data[i], view->dtype, (size_t)j) != chunk->steps)
                return fail(error, EDGERNN_INPUT_ERROR, "`%.100s` ends sequences within a chunk of "
                            "%" PRId64 " step%s, which is run in parts. Give each sequence alone.",
                            view->name, chunk->steps, plural(chunk->steps));
    }
    return EDGERNN_OK;
}

/* Run whole hops from one set of states to another, in as many calls as that takes. */
static edgernn_status run_hops(edgernn_stream *stream, const Chunk *chunk, const Arrays *before,
                               const Arrays *after, Arena *arena, Arrays **made, edgernn_error *error) {
    int64_t count = 0;
    Call call;
    Arrays **parts;
    edgernn_status status = EDGERNN_OK;
    TRY(divide(stream->model, chunk->steps, &count, 0, &call, error));
    if (count == 1 && !call.is_step) return run_part(stream, chunk, &call, before, after, arena, made, error);
    TRY(check_whole_lengths(stream, chunk, error));
    TAKE(parts, arena, count + 1);
    for (int64_t run = 0; !status && run < count; run++) {
        const Arrays *target = (count - 1 - run) % 2 ? stream->between : after;
        status = divide(stream->model, chunk->steps, &count, run, &call, error);
        Arena own = {NULL};
        if (!status) status = run_part(stream, chunk, &call, before, target, &own, &parts[run], error);
        free_arena(&own);
        before = target;
    }
    if (!status) status = start_result(stream, made, error);
    if (!status) status = join_results(stream, parts, (size_t)count, *made, error);
    for (int64_t i = 0; i < count; i++) free_arrays(parts[i]);
    return status;
}

/* ---- Prepared steps ----------------------------------------------------------------------------- */

/* The graph that runs single steps, NULL where the model has no step. */
static const Graph *step_graph(const edgernn_model *model) {
    const Graph *step = &model->graphs[EDGERNN_STEP];
    if (!model->carries) return NULL;
    if (step->session) return step;
    if (model->constant_steps && model->constant_steps != model->hop) return NULL;
    return model->least_steps > model->hop ? NULL : model->main;
}

/* Leave out the axis of one step of a sequence graph's port. */
static void squeeze(const View *view, int64_t *shape, size_t *rank) {
    if (view->steps < 0 || view->flattened || shape[view->steps] != 1) return;
    drop_steps(view, shape);
    --*rank;
}

/* Find the shape of a port in a call of one step; clear *fits where the batch does not determine it. */
static size_t find_shape(const edgernn_stream *stream, const View *view, const int64_t *symbols,
                         int64_t *shape, bool *fits) {
    size_t bytes = 0;
    for (size_t axis = 0; axis < view->rank; axis++)
        if ((shape[axis] = axis_size(stream->model, &view->axes[axis], symbols)) < 0) *fits = false;
    if (*fits && !count_bytes(shape, view->rank, view->width, &bytes)) *fits = false;
    return bytes;
}

/* Make the memory of the ports of a side of the graph that steps, and tensors of ONNX Runtime's. */
static edgernn_status make_side(edgernn_stream *stream, const Side *side, const int64_t *symbols,
                                Arrays **made, bool *fits, edgernn_error *error) {
    if (!(*made = make_arrays(stream->model, side->data_count))) return fail_memory(error);
    for (size_t i = 0; *fits && i < side->data_count; i++) {
        const View *view = &side->views[i];
        int64_t *shape = (*made)->shapes[i];
        const size_t bytes = find_shape(stream, view, symbols, shape, fits);
        if (!*fits) break;
        TRY(make_memory(*made, i, view->name, view->dtype, view->rank, shape, bytes, error));
        for (size_t j = 0; view->is_lengths && j < bytes / view->width; j++)
            write_number((char *)(*made)->memory[i] + j * view->width, view->dtype, (double)stream->model->hop);
    }
    return EDGERNN_OK;
}

/* Prepare the calls that step from either set of states to the other, where the batch alone
 * determines all shapes. */
static edgernn_status prepare_steps(edgernn_stream *stream, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const Graph *graph = step_graph(model);
    bool fits = true;
    if (!graph) return EDGERNN_OK;
    const int64_t *symbols = make_symbols(stream, model->hop, &stream->arena);
    if (!symbols) return fail_memory(error);
    TAKE(stream->step_shapes, &stream->arena, graph->in.data_count + 1);
    TAKE(stream->step_bytes, &stream->arena, graph->in.data_count + 1);
    TAKE(stream->step_data, &stream->arena, graph->in.data_count + 1);
    TRY(make_side(stream, &graph->in, symbols, &stream->staged, &fits, error));
    for (size_t i = 0; fits && i < graph->in.data_count; i++) {
        size_t bytes = 0;
        stream->step_bytes[i] = find_shape(stream, &model->steps[INPUTS][i], symbols, stream->step_shapes[i], &fits);
        count_bytes(stream->staged->shapes[i], graph->in.views[i].rank, graph->in.views[i].width, &bytes);
        fits = fits && bytes == stream->step_bytes[i];
    }
    for (int set = 0; fits && set < 2; set++) {
        Arrays *slot;
        TRY(make_side(stream, &graph->out, symbols, &stream->slots[set], &fits, error));
        if (model->undefined) TRY(make_side(stream, &graph->out, symbols, &stream->cuts[set], &fits, error));
        TAKE(stream->plan_inputs[set], &stream->arena, graph->in.count + 1);
        TAKE(stream->plan_outputs[set], &stream->arena, graph->out.count + 1);
        slot = stream->slots[set];
        bind_states(graph, stream->sets[set], stream->sets[set ^ 1], stream->plan_inputs[set],
                    stream->plan_outputs[set]);
        for (size_t i = 0; i < graph->in.data_count; i++)
            stream->plan_inputs[set][graph->in.places[i]] = stream->staged->values[i];
        for (size_t i = 0; fits && i < graph->out.data_count; i++) {
            stream->plan_outputs[set][graph->out.places[i]] = slot->values[i];
            if (graph != &model->graphs[EDGERNN_STEP])
                squeeze(&graph->out.views[i], slot->shapes[i], &slot->tensors[i].rank);
        }
    }
    stream->is_prepared = fits;
    return EDGERNN_OK;
}

/* ---- Streams ------------------------------------------------------------------------------------ */

void edgernn_stream_close(edgernn_stream *stream) {
    if (!stream) return;
    edgernn_model *model = stream->model;
    Arrays *results[] = {stream->sets[0],  stream->sets[1],  stream->initial, stream->between, stream->spare,
                         stream->result,   stream->staged,   stream->slots[0], stream->slots[1],
                         stream->cuts[0],  stream->cuts[1]};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) free_arrays(results[i]);
    free_arena(&stream->rest_arena);
    free_arena(&stream->arena);
    free(stream);
    release_model(model);
}

static edgernn_status check_batch(const edgernn_model *model, size_t batch, edgernn_error *error) {
    const Bound *bound = find_bound(model, "batch");
    bool varies = !model->state_count;
    if (!batch || batch > (size_t)LARGEST_SIZE)
        return fail(error, EDGERNN_INPUT_ERROR, "`batch` is %zu; a stream runs at least 1 sequence. "
                    "Give 1 or more.", batch);
    if (bound && bound->most && (int64_t)batch > bound->most)
        return fail(error, EDGERNN_INPUT_ERROR, "`batch` is %zu; the model takes at most %" PRId64
                    " sequences at once. Give fewer.", batch, bound->most);
    for (size_t i = 0; i < model->state_count; i++)
        for (size_t axis = 0; axis < model->states[i].rank; axis++)
            varies |= model->states[i].axes[axis].symbol == BATCH;
    const int64_t constant = model->constant_batch ? model->constant_batch : 1;
    if (!varies && (int64_t)batch != constant)
        return fail(error, EDGERNN_INPUT_ERROR, "`batch` is %zu, but this model was exported for a "
                    "batch of %" PRId64 " only. Run that many sequences at a time.", batch, constant);
    return EDGERNN_OK;
}

edgernn_status edgernn_stream_open(edgernn_model *model, size_t batch, edgernn_stream **stream,
                                   edgernn_error *error) {
    clear(error);
    if (!model || !stream)
        return fail(error, EDGERNN_INPUT_ERROR, "`%s` is NULL. Give an open model and a place for the "
                    "stream.", model ? "stream" : "model");
    TRY(check_batch(model, batch, error));
    edgernn_stream *made = calloc(1, sizeof *made);
    if (!made) return fail_memory(error);
    size_t inputs = 1, outputs = 1;
    for (int kind = 0; kind < 2; kind++) {
        const Graph *graph = &model->graphs[kind];
        if (graph->in.count >= inputs) inputs = graph->in.count + 1;
        if (graph->out.count >= outputs) outputs = graph->out.count + 1;
    }
    made->model = model;
    ADD_ONE(&model->references);
    made->batch = batch;
    made->call_inputs = take(&made->arena, inputs, sizeof *made->call_inputs);
    made->own_inputs = take(&made->arena, inputs, sizeof *made->own_inputs);
    made->call_outputs = take(&made->arena, outputs, sizeof *made->call_outputs);
    edgernn_status status = made->call_inputs && made->own_inputs && made->call_outputs
                                ? make_states(made, error) : fail_memory(error);
    if (!status) status = prepare_steps(made, error);
    if (status) edgernn_stream_close(made);
    else *stream = made;
    return status;
}

static Arrays *now(edgernn_stream *stream) {
    return stream->sets[stream->current];
}

static Arrays *next(edgernn_stream *stream) {
    return stream->sets[stream->current ^ 1];
}

/* Check that the states of a sequence that counts its hops have room for more. */
static edgernn_status check_room(const edgernn_stream *stream, const Arrays *values, int64_t hops,
                                 edgernn_error *error) {
    const edgernn_model *model = stream->model;
    for (size_t i = 0; model->is_limited && i < model->state_count; i++) {
        const State *state = &model->states[i];
        int64_t most = INT64_MIN;
        if (!state->limit) continue;
        for (size_t j = 0; j < stream->state_bytes[i] / state->width; j++) {
            const int64_t count = integer_at(values->memory[i], state->dtype, j);
            if (count > most) most = count;
        }
        if (most <= state->limit - hops) continue;
        return fail(error, EDGERNN_INPUT_ERROR, "State `%.100s` counts the %ss of a sequence up to "
                    "%" PRId64 ", the end of a table of the model; it has counted %" PRId64 ", and %" PRId64
                    " more came. Start a new sequence with edgernn_reset.", state->name,
                    model->hop == 1 ? "step" : "hop", state->limit, most, hops);
    }
    return EDGERNN_OK;
}

/* Check that a stream takes more steps. */
static edgernn_status check_stream(const edgernn_stream *stream, const char *call, edgernn_error *error) {
    clear(error);
    if (!stream) return fail(error, EDGERNN_INPUT_ERROR, "`stream` is NULL. Open one first.");
    if (!stream->model->carries)
        return fail(error, EDGERNN_INPUT_ERROR, "The model cannot run as a stream, so `%s` does not "
                    "run it: its state cannot be carried from one chunk to the next. Give it whole "
                    "sequences: edgernn_run.", call);
    if (stream->finished)
        return fail(error, EDGERNN_INPUT_ERROR, "The stream has finished. Start a new sequence with "
                    "edgernn_reset, or continue from a snapshot with edgernn_restore.");
    return EDGERNN_OK;
}

/* Make the next states the current ones, where there were hops. */
static void commit(edgernn_stream *stream, int64_t hops) {
    stream->current ^= hops > 0;
    stream->hops += hops;
    stream->age += hops;
}

/* End a call: its result becomes the last one, and is handed over. */
static edgernn_status end_call(edgernn_stream *stream, edgernn_status status, Arena *arena, Arrays *result,
                               int64_t hops, const edgernn_tensor **outputs, size_t *output_count) {
    free_arena(arena);
    if (status) return free_arrays(result), status;
    free_arrays(stream->result);
    stream->result = result;
    commit(stream, hops);
    if (outputs) *outputs = result->tensors;
    if (output_count) *output_count = result->count;
    return EDGERNN_OK;
}

static Check step_check(const edgernn_model *model) {
    return (Check){model->steps[INPUTS], model->step_input_count, "step graph", false, model->hop};
}

/* Find the inputs of a prepared step where they come in order and need no words; return false where
 * they must be searched or refused. */
static bool match_inputs(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count) {
    const edgernn_model *model = stream->model;
    if (count != model->step_input_count) return false;
    for (size_t i = 0; i < count; i++) {
        const View *view = &model->steps[INPUTS][i];
        const edgernn_tensor *input = &inputs[i];
        if (view->is_lengths || !input->name || strcmp(input->name, view->name)) return false;
        if (input->dtype != view->dtype || input->rank != view->rank || !input->data) return false;
        if (view->rank && (!input->shape || memcmp(input->shape, stream->step_shapes[i],
                                                   view->rank * sizeof *input->shape)))
            return false;
        if (view->limit && check_ids(view, input->data, stream->step_bytes[i] / view->width, NULL))
            return false;
        stream->step_data[i] = input->data;
    }
    return true;
}

/* Find the inputs of a prepared step, or say what is wrong with them. */
static edgernn_status search_inputs(edgernn_stream *stream, const edgernn_tensor *inputs,
                                    size_t count, edgernn_error *error) {
    const Check check = step_check(stream->model);
    Arena arena = {NULL};
    Chunk chunk;
    edgernn_status status = check_inputs(stream, &check, inputs, count, &arena, &chunk, error);
    for (size_t i = 0; !status && i < check.count; i++) {
        size_t bytes = 0;
        stream->step_data[i] = check.views[i].is_lengths ? NULL : chunk.data[i];
        if (!count_bytes(chunk.shapes[i], check.views[i].rank, check.views[i].width, &bytes) ||
            bytes != stream->step_bytes[i])
            status = fail(error, EDGERNN_INPUT_ERROR, "`%.100s` does not have the shape of one step. "
                          "Give that, or feed any number of steps: edgernn_feed.", check.views[i].name);
    }
    free_arena(&arena);
    return status;
}

/* Leave out what is not defined in the outputs of a prepared step. */
static Arrays *cut_step(edgernn_stream *stream, const Graph *graph) {
    Arrays *slot = stream->slots[stream->current], *cut = stream->cuts[stream->current];
    if (stream->age >= stream->model->undefined) return slot;
    for (size_t i = 0; i < graph->out.data_count; i++) {
        const View *view = &graph->out.views[i];
        const int64_t left = undefined_steps(stream->model, view, stream->age);
        cut->tensors[i] = slot->tensors[i];
        if (left && view->rate == 1) cut->tensors[i].data = NULL;
        if (!left || view->rate == 1) continue;
        const Layout layout = layout_of(view, slot->shapes[i], stream->batch);
        const size_t start = (size_t)(left > view->rate ? view->rate : left), steps = layout.steps - start;
        memcpy(cut->shapes[i], slot->shapes[i], sizeof *slot->shapes);
        set_steps(view, cut->shapes[i], steps, stream->batch);
        copy_steps(&layout, slot->memory[i], start, steps, cut->memory[i], steps, 0);
        cut->tensors[i].shape = cut->shapes[i];
        cut->tensors[i].data = cut->memory[i];
    }
    return cut;
}

/* Run a prepared step. */
static edgernn_status run_prepared(edgernn_stream *stream, const Graph *graph,
                                   const edgernn_tensor **outputs, size_t *output_count,
                                   edgernn_error *error) {
    const size_t set = stream->current;
    for (size_t i = 0; i < graph->in.data_count; i++)
        if (stream->step_data[i])
            memcpy(stream->staged->memory[i], stream->step_data[i], stream->step_bytes[i]);
    TRY(call_graph(stream->model, graph, stream->plan_inputs[set], stream->plan_outputs[set], error));
    const Arrays *result = cut_step(stream, graph);
    if (stream->result) free_arrays(stream->result), stream->result = NULL;
    commit(stream, 1);
    if (outputs) *outputs = result->tensors;
    if (output_count) *output_count = result->count;
    return EDGERNN_OK;
}

/* Run a step whose shapes the batch alone does not determine. */
static edgernn_status run_unprepared(edgernn_stream *stream, const Graph *graph,
                                     const edgernn_tensor *inputs, size_t count, Arena *arena,
                                     Arrays **made, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const Check check = step_check(model);
    const bool is_step = graph == &model->graphs[EDGERNN_STEP];
    Chunk chunk;
    TRY(start_result(stream, made, error));
    TRY(check_inputs(stream, &check, inputs, count, arena, &chunk, error));
    for (size_t i = 0; i < check.count; i++) {
        const View *view = &graph->in.views[i];
        if (!is_step && view->steps >= 0 && check.views[i].rank < view->rank)
            add_step(view, chunk.shapes[i], check.views[i].rank);
    }
    TRY(run_graph(stream, graph, &chunk, NULL, now(stream), next(stream), (*made)->values, error));
    for (size_t i = 0; i < (*made)->count; i++) {
        const View *view = &graph->out.views[i];
        const int64_t left = undefined_steps(model, view, stream->age);
        TRY(read_value(*made, i, view, error));
        if (left > 0 && view->rate == 1) (*made)->tensors[i].data = NULL;
        else if (left > 0) TRY(cut_output(*made, i, view, left, INT64_MAX, stream->batch, error));
        else if (!is_step) squeeze(view, (*made)->shapes[i], &(*made)->tensors[i].rank);
    }
    return EDGERNN_OK;
}

/* Say that there is no step. */
static edgernn_status refuse_step(const edgernn_model *model, edgernn_error *error) {
    const bool is_constant = model->constant_steps != 0;
    const int64_t steps = is_constant ? model->constant_steps : model->least_steps;
    return fail(error, EDGERNN_INPUT_ERROR, "The model has no step graph, and its sequence graph takes "
                "%s%" PRId64 " step%s%s. Feed it chunks: edgernn_feed.", is_constant ? "" : "at least ",
                steps, plural(steps), is_constant ? " at a time" : "");
}

edgernn_status edgernn_step(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count,
                            const edgernn_tensor **outputs, size_t *output_count,
                            edgernn_error *error) {
    TRY(check_stream(stream, "edgernn_step", error));
    const Graph *graph = step_graph(stream->model);
    if (!graph) return refuse_step(stream->model, error);
    TRY(check_room(stream, now(stream), 1, error));
    if (stream->rest.steps)
        return fail(error, EDGERNN_INPUT_ERROR, "The stream keeps %" PRId64 " step%s from edgernn_feed, "
                    "which come before this hop. Feed it as well, or start a new sequence with "
                    "edgernn_reset.", stream->rest.steps, plural(stream->rest.steps));
    if (stream->is_prepared) {
        if (!match_inputs(stream, inputs, inputs ? count : 0))
            TRY(search_inputs(stream, inputs, count, error));
        return run_prepared(stream, graph, outputs, output_count, error);
    }
    Arena arena = {NULL};
    Arrays *result = NULL;
    const edgernn_status status = run_unprepared(stream, graph, inputs, count, &arena, &result, error);
    return end_call(stream, status, &arena, result, 1, outputs, output_count);
}

/* ---- Chunks ------------------------------------------------------------------------------------- */

/* Split a rest and the chunk after it into whole hops and the next rest. */
static edgernn_status split(const edgernn_stream *stream, const Chunk *rest, const Chunk *chunk,
                            Arena *arena, Chunk *whole, Arena *rest_arena, Chunk *left,
                            edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const size_t count = model->main->in.data_count, total = (size_t)(rest->steps + chunk->steps);
    const size_t kept = total % (size_t)model->hop, end = total - kept;
    memset(left, 0, sizeof *left);
    *whole = *chunk;
    if (model->hop == 1) return EDGERNN_OK;
    TRY(check_whole_lengths(stream, chunk, error));
    TAKE(whole->data, arena, count + 1);
    TAKE(whole->shapes, arena, count + 1);
    TAKE(left->data, rest_arena, count + 1);
    TAKE(left->shapes, rest_arena, count + 1);
    whole->steps = (int64_t)end;
    left->steps = (int64_t)kept;
    for (size_t i = 0; i < count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        memcpy(whole->shapes[i], chunk->shapes[i], sizeof *whole->shapes);
        whole->data[i] = chunk->data[i];
        if (view->is_lengths)
            TRY(fill_lengths(view, whole->steps, (size_t)chunk->shapes[i][0], arena, &whole->data[i], error));
        if (view->is_lengths || view->steps < 0 || (!rest->steps && !kept)) continue;
        const Layout layout = layout_of(view, chunk->shapes[i], stream->batch);
        const Layout all = {layout.outer, total, layout.inner}, none = {layout.outer, 0, layout.inner};
        const Layout before = rest->steps ? layout_of(view, rest->shapes[i], stream->batch) : none;
        TRY(check_steps(view, &layout, chunk->steps, error));
        if (before.outer != layout.outer || before.inner != layout.inner)
            return fail(error, EDGERNN_INPUT_ERROR, "`%.100s` has other sizes than the chunk before, of "
                        "which steps are kept. Give the same, or start a new sequence with "
                        "edgernn_reset.", view->name);
        const size_t row = layout.outer * layout.inner;
        char *joined = take(arena, row * total + 1, 1), *data = take(arena, row * end + 1, 1);
        char *next_rest = take(rest_arena, row * kept + 1, 1);
        if (!joined || !data || !next_rest) return fail_memory(error);
        if (rest->steps) copy_steps(&before, rest->data[i], 0, before.steps, joined, total, 0);
        copy_steps(&layout, chunk->data[i], 0, layout.steps, joined, total, before.steps);
        copy_steps(&all, joined, 0, end, data, end, 0);
        copy_steps(&all, joined, end, kept, next_rest, kept, 0);
        memcpy(left->shapes[i], chunk->shapes[i], sizeof *left->shapes);
        set_steps(view, whole->shapes[i], end, stream->batch);
        set_steps(view, left->shapes[i], kept, stream->batch);
        whole->data[i] = data;
        left->data[i] = next_rest;
    }
    return EDGERNN_OK;
}

static Check chunk_check(const edgernn_model *model) {
    return (Check){model->chunks[INPUTS], model->main->in.data_count, "sequence graph", !model->divisible, 0};
}

/* Run the whole hops of the rest and a chunk, and keep what is left. */
static edgernn_status feed_chunk(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count,
                                 Arena *arena, Arena *rest_arena, Chunk *left, Arrays **result,
                                 int64_t *hops, edgernn_error *error) {
    const Check check = chunk_check(stream->model);
    Chunk chunk, whole;
    TRY(check_inputs(stream, &check, inputs, count, arena, &chunk, error));
    TRY(split(stream, &stream->rest, &chunk, arena, &whole, rest_arena, left, error));
    *hops = whole.steps / stream->model->hop;
    TRY(check_room(stream, now(stream), *hops, error));
    if (!*hops) return make_empty(stream, result, error);
    TRY(run_hops(stream, &whole, now(stream), next(stream), arena, result, error));
    return cut_undefined(stream, *result, stream->age, *hops, error);
}

/* Feed a chunk to a stream that takes more steps. */
static edgernn_status feed(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count,
                           const edgernn_tensor **outputs, size_t *output_count, edgernn_error *error) {
    Arena arena = {NULL}, rest_arena = {NULL};
    Chunk left = {0};
    Arrays *result = NULL;
    int64_t hops = 0;
    const edgernn_status status = feed_chunk(stream, inputs, count, &arena, &rest_arena, &left, &result,
                                             &hops, error);
    free_arena(status ? &rest_arena : &stream->rest_arena);
    if (!status) stream->rest_arena = rest_arena, stream->rest = left;
    return end_call(stream, status, &arena, result, hops, outputs, output_count);
}

edgernn_status edgernn_feed(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count,
                            const edgernn_tensor **outputs, size_t *output_count,
                            edgernn_error *error) {
    TRY(check_stream(stream, "edgernn_feed", error));
    return feed(stream, inputs, count, outputs, output_count, error);
}

/* Add inputs of padding to those that are given: `steps` steps for each input with steps. */
static edgernn_status pad_inputs(const edgernn_stream *stream, int64_t steps,
                                 const edgernn_tensor *inputs, size_t count, Arena *arena,
                                 edgernn_tensor **padded, size_t *padded_count, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const int64_t *symbols = make_symbols(stream, steps, arena);
    if (!symbols) return fail_memory(error);
    if (count > MOST_PORTS)
        return fail(error, EDGERNN_INPUT_ERROR, "%zu inputs came; a model has at most %d. Give fewer.",
                    count, (int)MOST_PORTS);
    TAKE(*padded, arena, count + model->main->in.data_count + 1);
    *padded_count = 0;
    for (size_t i = 0; i < model->main->in.data_count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        int64_t *shape;
        size_t bytes = 0;
        if (view->steps < 0 || view->is_lengths) continue;
        TAKE(shape, arena, SHAPE_SIZE);
        for (size_t axis = 0; axis < view->rank; axis++) {
            const int64_t size = axis_size(model, &view->axes[axis], symbols);
            shape[axis] = size < 1 ? 1 : size;
        }
        if (!count_bytes(shape, view->rank, view->width, &bytes)) return fail_memory(error);
        char *data = take(arena, bytes + 1, 1);
        if (!data) return fail_memory(error);
        for (size_t at = 0; view->padding != 0 && at < bytes; at += view->width)
            write_number(data + at, view->dtype, view->padding);
        (*padded)[(*padded_count)++] = (edgernn_tensor){view->name, view->dtype, view->rank, shape, data};
    }
    for (size_t i = 0; inputs && i < count; i++) (*padded)[(*padded_count)++] = inputs[i];
    return EDGERNN_OK;
}

/* Run the padding after the end of a sequence, whose states are `before`, and take the tails. */
static edgernn_status run_tail(edgernn_stream *stream, const Arrays *before, int64_t age,
                               const edgernn_tensor *inputs, size_t count, Arena *arena,
                               Arrays **made, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const Check check = chunk_check(model);
    edgernn_tensor *padded = NULL;
    size_t padded_count = 0;
    Chunk chunk;
    if (!model->tail && count)
        return fail(error, EDGERNN_INPUT_ERROR, "%zu inputs came, but the model gives nothing at the "
                    "end of a sequence. Give none.", count);
    if (!model->tail) return make_empty(stream, made, error);
    TRY(pad_inputs(stream, model->tail * model->hop, inputs, count, arena, &padded, &padded_count, error));
    TRY(check_inputs(stream, &check, padded, padded_count, arena, &chunk, error));
    const edgernn_status status = run_hops(stream, &chunk, before, stream->spare, arena, made, error);
    if (status == EDGERNN_PROVIDER_ERROR) TRY(check_room(stream, before, model->tail, error));
    TRY(status);
    for (size_t i = 0; i < (*made)->count; i++) {
        const View *view = &model->chunks[OUTPUTS][i];
        const int64_t start = undefined_steps(model, view, age);
        if (view->steps >= 0)
            TRY(cut_output(*made, i, view, start, start > view->tail ? start : view->tail, stream->batch,
                           error));
        else if (!view->tail || age + model->tail <= view->delay)
            (*made)->tensors[i].data = NULL;
    }
    return EDGERNN_OK;
}

edgernn_status edgernn_finish(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count,
                              const edgernn_tensor **outputs, size_t *output_count,
                              edgernn_error *error) {
    TRY(check_stream(stream, "edgernn_finish", error));
    Arena arena = {NULL};
    Arrays *result = NULL;
    const edgernn_status status =
        run_tail(stream, now(stream), stream->age, inputs, count, &arena, &result, error);
    TRY(end_call(stream, status, &arena, result, 0, outputs, output_count));
    stream->finished = true;
    return EDGERNN_OK;
}

/* Run whole sequences from the initial state; with hops, their tails as well. */
static edgernn_status run_whole(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count,
                                Arena *arena, Arrays **made, edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const bool is_chunk = model->in_hops || model->main == &model->graphs[EDGERNN_STEP];
    const Check check = {is_chunk ? model->chunks[INPUTS] : model->main->in.views,
                         model->main->in.data_count, "sequence graph",
                         !model->in_hops || !model->divisible,
                         model->in_hops ? 0 : model->constant_steps};
    const Chunk none = {0};
    Chunk chunk, whole, left;
    edgernn_tensor *steady; /* inputs without steps, which the tail takes as well */
    size_t steady_count = 0;
    TRY(check_inputs(stream, &check, inputs, count, arena, &chunk, error));
    if (chunk.steps < model->hop)
        return fail(error, EDGERNN_INPUT_ERROR, "The sequence has %" PRId64 " step%s; the model takes hops "
                    "of %" PRId64 " steps. Give at least one hop, or feed a stream: edgernn_feed.",
                    chunk.steps, plural(chunk.steps), model->hop);
    TRY(split(stream, &none, &chunk, arena, &whole, arena, &left, error));
    const int64_t hops = whole.steps / model->hop;
    TRY(check_room(stream, stream->initial, hops, error));
    TRY(run_hops(stream, &whole, stream->initial, next(stream), arena, made, error));
    TRY(cut_undefined(stream, *made, 0, hops, error));
    if (!model->tail) return EDGERNN_OK;
    TAKE(steady, arena, check.count + 1);
    for (size_t i = 0; i < check.count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        if (view->steps < 0 && !view->is_lengths)
            steady[steady_count++] = (edgernn_tensor){view->name, view->dtype, view->rank, chunk.shapes[i],
                                                      chunk.data[i]};
    }
    Arrays *parts[2] = {*made, NULL};
    *made = NULL;
    edgernn_status status = run_tail(stream, next(stream), hops, steady, steady_count, arena, &parts[1], error);
    if (!status) status = start_result(stream, made, error);
    if (!status) status = join_results(stream, parts, 2, *made, error);
    free_arrays(parts[0]);
    free_arrays(parts[1]);
    return status;
}

edgernn_status edgernn_run(edgernn_stream *stream, const edgernn_tensor *inputs, size_t count,
                           const edgernn_tensor **outputs, size_t *output_count,
                           edgernn_error *error) {
    clear(error);
    if (!stream) return fail(error, EDGERNN_INPUT_ERROR, "`stream` is NULL. Open one first.");
    Arena arena = {NULL};
    Arrays *result = NULL;
    const edgernn_status status = run_whole(stream, inputs, count, &arena, &result, error);
    TRY(end_call(stream, status, &arena, result, 0, outputs, output_count));
    edgernn_reset(stream);
    return EDGERNN_OK;
}

/* ---- The state of a stream ---------------------------------------------------------------------- */

void edgernn_reset(edgernn_stream *stream) {
    if (!stream) return;
    copy_states(stream, stream->initial, now(stream));
    stream->hops = stream->age = 0;
    stream->finished = false;
    free_arena(&stream->rest_arena);
    memset(&stream->rest, 0, sizeof stream->rest);
}

uint64_t edgernn_steps(const edgernn_stream *stream) {
    return stream ? (uint64_t)stream->hops * (uint64_t)stream->model->hop : 0;
}

size_t edgernn_rest(const edgernn_stream *stream) {
    return stream ? (size_t)stream->rest.steps : 0;
}

edgernn_status edgernn_state(edgernn_stream *stream, const char *name, const edgernn_tensor **value,
                             edgernn_error *error) {
    char known[600] = "";
    clear(error);
    if (!stream || !name || !value)
        return fail(error, EDGERNN_INPUT_ERROR, "`%s` is NULL. Give the stream, the name of a state's "
                    "input and its value.", !stream ? "stream" : !name ? "name" : "value");
    for (size_t i = 0; i < state_count(stream); i++) {
        const char *input = stream->model->states[i].input;
        if (!strcmp(input, name)) return *value = &now(stream)->tensors[i], EDGERNN_OK;
        append(known, sizeof known, "%s`%s`", i ? ", " : "", input);
    }
    return fail(error, EDGERNN_STATE_ERROR, "`%.100s` is not a state of this model; its states are %s. "
                "Give one of them.", name, *known ? known : "none");
}

/* Check the elements of a state. */
static edgernn_status check_values(const State *state, const void *data, size_t bytes,
                                   edgernn_error *error) {
    bool fits = are_finite(data, state->dtype, bytes / state->width);
    for (size_t i = 0; state->dtype == EDGERNN_BOOL && i < bytes; i++)
        fits = fits && ((const unsigned char *)data)[i] <= 1;
    if (fits) return EDGERNN_OK;
    return fail(error, EDGERNN_STATE_ERROR, "State `%.100s` has values that are %s; a recurrence never "
                "recovers from them. Give a finite state, or reset.", state->input,
                state->dtype == EDGERNN_BOOL ? "neither 0 nor 1" : "NaN or infinite");
}

edgernn_status edgernn_set_state(edgernn_stream *stream, const edgernn_tensor *value,
                                 edgernn_error *error) {
    const edgernn_tensor *present = NULL;
    TRY(edgernn_state(stream, value ? value->name : "", value ? &present : NULL, error));
    const size_t place = (size_t)(present - now(stream)->tensors);
    const State *state = &stream->model->states[place];
    char shape[300], wanted[300];
    if (value->dtype != present->dtype)
        return fail(error, EDGERNN_STATE_ERROR, "State `%.100s` came as %s. Give it as %s.", state->input,
                    dtype_name(value->dtype), dtype_name(state->dtype));
    const bool has_shape = !value->rank || value->shape;
    if (value->rank != present->rank || !has_shape ||
        (value->rank && memcmp(value->shape, present->shape, value->rank * sizeof *value->shape)))
        return fail(error, EDGERNN_STATE_ERROR, "State `%.100s` must have shape %s for batch %zu; it came "
                    "with %s%s. Give that shape.", state->input,
                    format_shape(present, wanted, sizeof wanted), stream->batch, has_shape ? "shape " : "none",
                    has_shape ? format_shape(value, shape, sizeof shape) : "");
    if (!value->data && stream->state_bytes[place])
        return fail(error, EDGERNN_STATE_ERROR, "State `%.100s` came without data, NULL. Give its "
                    "elements.", state->input);
    TRY(check_values(state, value->data, stream->state_bytes[place], error));
    if (stream->state_bytes[place])
        memmove(now(stream)->memory[place], value->data, stream->state_bytes[place]);
    return EDGERNN_OK;
}

/* ---- Snapshots ---------------------------------------------------------------------------------- */

/* A snapshot is this, then the states in their order, then for each input with steps, where some are
 * kept, its shape and its steps, then the hash of all before. */
typedef struct Header {
    uint64_t magic, size, family, batch;
    int64_t hops, age, rest;
    uint64_t finished;
} Header;

#define MAGIC UINT64_C(0x0001534e5247454e) /* another one on a machine of the other byte order */

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t family_hash(const edgernn_model *model) {
    const char *family = family_of(model->main);
    const char *states = find_entry(model->main, "states", NULL);
    const uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), family, strlen(family) + 1);
    return hash_bytes(hash, states, strlen(states));
}

/* Return the bytes of what is kept of an input. */
static size_t rest_bytes(const edgernn_stream *stream, size_t place) {
    const View *view = &stream->model->chunks[INPUTS][place];
    size_t bytes = 0;
    if (!stream->rest.steps || !stream->rest.data[place]) return 0;
    count_bytes(stream->rest.shapes[place], view->rank, view->width, &bytes);
    return bytes;
}

size_t edgernn_snapshot_size(const edgernn_stream *stream) {
    size_t size = sizeof(Header) + sizeof(uint64_t);
    for (size_t i = 0; stream && i < state_count(stream); i++) size += stream->state_bytes[i];
    for (size_t i = 0; stream && i < stream->model->main->in.data_count; i++)
        if (rest_bytes(stream, i))
            size += stream->model->chunks[INPUTS][i].rank * sizeof(int64_t) + rest_bytes(stream, i);
    return stream ? size : 0;
}

edgernn_status edgernn_snapshot(const edgernn_stream *stream, void *buffer, size_t size,
                                edgernn_error *error) {
    clear(error);
    if (!stream || !buffer)
        return fail(error, EDGERNN_INPUT_ERROR, "`%s` is NULL. Give the stream and a buffer.",
                    stream ? "buffer" : "stream");
    const size_t needed = edgernn_snapshot_size(stream);
    if (size < needed)
        return fail(error, EDGERNN_INPUT_ERROR, "The buffer has %zu bytes; a snapshot of this moment "
                    "takes %zu. Give edgernn_snapshot_size() bytes.", size, needed);
    const Header header = {MAGIC, needed, family_hash(stream->model), stream->batch, stream->hops,
                           stream->age, stream->rest.steps, stream->finished};
    char *at = buffer;
    memcpy(at, &header, sizeof header);
    at += sizeof header;
    for (size_t i = 0; i < state_count(stream); at += stream->state_bytes[i++])
        memcpy(at, stream->sets[stream->current]->memory[i], stream->state_bytes[i]);
    for (size_t i = 0; i < stream->model->main->in.data_count; i++) {
        const size_t bytes = rest_bytes(stream, i);
        const size_t shape = stream->model->chunks[INPUTS][i].rank * sizeof(int64_t);
        if (!bytes) continue;
        memcpy(at, stream->rest.shapes[i], shape);
        memcpy(at + shape, stream->rest.data[i], bytes);
        at += shape + bytes;
    }
    const uint64_t hash = hash_bytes(0, buffer, needed - sizeof hash);
    memcpy(at, &hash, sizeof hash);
    return EDGERNN_OK;
}

static edgernn_status fail_snapshot(edgernn_error *error, const char *reason) {
    return fail(error, EDGERNN_STATE_ERROR, "The snapshot does not fit: %s. Restore what "
                "edgernn_snapshot wrote for a stream of this artifact and batch.", reason);
}

/* Check the header of a snapshot. */
static edgernn_status read_header(const edgernn_stream *stream, const void *snapshot, size_t size,
                                  Header *header, edgernn_error *error) {
    char reason[160];
    uint64_t hash;
    if (!snapshot || size < sizeof *header + sizeof hash) return fail_snapshot(error, "it is too short");
    memcpy(header, snapshot, sizeof *header);
    memcpy(&hash, (const char *)snapshot + size - sizeof hash, sizeof hash);
    if (header->magic != MAGIC || header->size != size ||
        hash_bytes(0, snapshot, size - sizeof hash) != hash)
        return fail_snapshot(error, "it is damaged");
    if (header->family != family_hash(stream->model))
        return fail_snapshot(error, "it is of another artifact");
    if (header->batch != stream->batch) {
        snprintf(reason, sizeof reason, "it has batch %" PRIu64 ", and this stream %zu", header->batch,
                 stream->batch);
        return fail_snapshot(error, reason);
    }
    if (header->hops < 0 || header->hops > MOST_HOPS || header->age < 0 || header->rest < 0 ||
        header->finished > 1 || header->rest >= stream->model->hop || header->age > header->hops)
        return fail_snapshot(error, "its counts are not those of a stream");
    return EDGERNN_OK;
}

/* Read the steps that are kept. */
static edgernn_status read_rest(const edgernn_stream *stream, const char *at, size_t left,
                                int64_t steps, Arena *arena, Arena *rest_arena, Chunk *rest,
                                edgernn_error *error) {
    const edgernn_model *model = stream->model;
    const size_t count = model->main->in.data_count;
    View *views;
    edgernn_tensor *tensors;
    size_t found = 0;
    Check check = {NULL, 0, "rest of a stream", false, 0};
    Chunk checked;
    edgernn_error reason;
    TAKE(views, arena, count + 1);
    TAKE(tensors, arena, count + 1);
    TAKE(rest->data, rest_arena, count + 1);
    TAKE(rest->shapes, rest_arena, count + 1);
    rest->steps = steps;
    for (size_t i = 0; steps && i < count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        const size_t shape = view->rank * sizeof(int64_t);
        size_t bytes = 0;
        if (view->steps < 0 || view->is_lengths) continue;
        if (left < shape) return fail_snapshot(error, "it is too short");
        memcpy(rest->shapes[i], at, shape);
        if (!count_bytes(rest->shapes[i], view->rank, view->width, &bytes) || bytes > left - shape)
            return fail_snapshot(error, "it is too short");
        char *data = take(rest_arena, bytes + 1, 1);
        if (!data) return fail_memory(error);
        memcpy(data, at + shape, bytes);
        rest->data[i] = data;
        at += shape + bytes;
        left -= shape + bytes;
        if (layout_of(view, rest->shapes[i], stream->batch).steps != (size_t)steps ||
            !are_finite(data, view->dtype, bytes / view->width))
            return fail_snapshot(error, "what it keeps of an input is not finite or has other steps");
        views[found] = *view;
        tensors[found++] = (edgernn_tensor){view->name, view->dtype, view->rank, rest->shapes[i], data};
    }
    if (left) return fail_snapshot(error, "it is too long");
    check.views = views;
    check.count = found;
    if (found && check_inputs(stream, &check, tensors, found, arena, &checked, &reason))
        return fail_snapshot(error, "what it keeps of an input has another shape");
    return EDGERNN_OK;
}

edgernn_status edgernn_restore(edgernn_stream *stream, const void *snapshot, size_t size,
                               edgernn_error *error) {
    Header header;
    clear(error);
    if (!stream) return fail(error, EDGERNN_INPUT_ERROR, "`stream` is NULL. Open one first.");
    TRY(read_header(stream, snapshot, size, &header, error));
    const char *at = (const char *)snapshot + sizeof header;
    size_t left = size - sizeof header - sizeof(uint64_t);
    for (size_t i = 0; i < state_count(stream); i++) {
        if (left < stream->state_bytes[i]) return fail_snapshot(error, "it is too short");
        memcpy(next(stream)->memory[i], at, stream->state_bytes[i]);
        TRY(check_values(&stream->model->states[i], next(stream)->memory[i], stream->state_bytes[i], error));
        at += stream->state_bytes[i];
        left -= stream->state_bytes[i];
    }
    Arena arena = {NULL}, rest_arena = {NULL};
    Chunk rest = {0};
    const edgernn_status status =
        read_rest(stream, at, left, header.rest, &arena, &rest_arena, &rest, error);
    free_arena(&arena);
    if (status) return free_arena(&rest_arena), status;
    free_arena(&stream->rest_arena);
    stream->rest_arena = rest_arena;
    stream->rest = rest;
    stream->current ^= 1;
    stream->hops = header.hops;
    stream->age = header.age;
    stream->finished = header.finished != 0;
    return EDGERNN_OK;
}

/* ---- The golden run ----------------------------------------------------------------------------- */

enum { MOST_RECORDING = 256 << 20 /* bytes of a file */ };

/* An array of a golden run. */
typedef struct Recording {
    int32_t dtype;
    size_t rank, bytes;
    int64_t shape[SHAPE_SIZE];
    void *data;
} Recording;

/* A golden run, by the places of the model's ports. */
typedef struct Golden {
    Arena arena;
    Chunk inputs;
    Recording *outputs, *before, *after; /* before, after: of the states */
    size_t batch;
    int64_t steps;
} Golden;

static edgernn_status fail_recording(edgernn_error *error, const char *path, const char *reason) {
    return fail(error, EDGERNN_CONTRACT_ERROR, "`%.400s` of the golden run %s. Export the model again.",
                path, reason);
}

/* Read the shape, `(2, 5, 3)`, in the header of a .npy file; *count is the number of elements. */
static bool read_shape(const char *at, Recording *recording, int64_t *count) {
    *count = 1;
    if (*at++ != '(') return false;
    while (*at != ')') {
        int64_t size = 0;
        if (recording->rank == MOST_RANK || *at < '0' || *at > '9') return false;
        while (*at >= '0' && *at <= '9' && size <= LARGEST_SIZE) size = 10 * size + (*at++ - '0');
        if (size > LARGEST_SIZE || !multiply(count, *count, size)) return false;
        recording->shape[recording->rank++] = size;
        while (*at == ',' || *at == ' ') at++;
    }
    return true;
}

/* Read the dict in the header of a .npy file; return why it is not one of a plain array, or NULL. */
static const char *read_header_text(const char *header, Recording *recording) {
    const char *descr = strstr(header, "'descr': '"), *shape = strstr(header, "'shape': ");
    int64_t count;
    if (!descr || !shape || !strstr(header, "'fortran_order': False"))
        return "is not a plain array in row-major order";
    descr += strlen("'descr': '");
    if (*descr != '<' && *descr != '|') return "is not little-endian";
    for (int32_t i = 1; i < DTYPE_COUNT; i++)
        if (width_of(i) && !strncmp(descr + 1, DTYPES[i].code, 2) && descr[3] == '\'') recording->dtype = i;
    if (!recording->dtype) return "does not hold numbers of a port's dtype";
    if (!read_shape(shape + strlen("'shape': "), recording, &count) ||
        count > MOST_RECORDING / (int64_t)width_of(recording->dtype))
        return "has a shape that cannot be read";
    recording->bytes = (size_t)count * width_of(recording->dtype);
    return NULL;
}

/* Read an open .npy file; return why that is not possible, or NULL. */
static const char *read_npy(FILE *file, Arena *arena, Recording *recording) {
    unsigned char start[10];
    char *header;
    if (fread(start, 1, sizeof start, file) != sizeof start || memcmp(start, "\x93NUMPY\x01", 7))
        return "is not a .npy file of version 1.0";
    const size_t size = start[8] | (size_t)start[9] << 8;
    if (!(header = take(arena, size + 1, 1))) return "needs more memory than there is";
    if (fread(header, 1, size, file) != size) return "ends in its header";
    const char *reason = read_header_text(header, recording);
    if (reason) return reason;
    if (!(recording->data = take(arena, recording->bytes + 1, 1)))
        return "needs more memory than there is";
    if (fread(recording->data, 1, recording->bytes, file) != recording->bytes || fgetc(file) != EOF)
        return "is not as long as its header says";
    return NULL;
}

/* Read the array of a port, check its dtype and its number of axes, and learn the batch. */
static edgernn_status read_recording(const char *folder, const char *name, int32_t dtype, const Axis *axes,
                                     size_t rank, bool is_of_steps, Golden *golden, Recording *recording,
                                     edgernn_error *error) {
    const size_t size = strlen(folder) + strlen(name) + 8;
    char *path = take(&golden->arena, size, 1), reason[160];
    if (!path) return fail_memory(error);
    snprintf(path, size, "%s/%s.npy", folder, name);
    FILE *file = is_file(path) ? open_file(path) : NULL; /* a pipe would wait */
    if (!file) return fail_recording(error, path, "cannot be read");
    const char *problem = read_npy(file, &golden->arena, recording);
    fclose(file);
    if (problem) return fail_recording(error, path, problem);
    if (recording->dtype != dtype) {
        snprintf(reason, sizeof reason, "is %s, and its port %s", dtype_name(recording->dtype), dtype_name(dtype));
        return fail_recording(error, path, reason);
    }
    if (recording->rank != rank && !(is_of_steps && recording->rank + 1 == rank)) /* of the last step alone */
        return fail(error, EDGERNN_CONTRACT_ERROR, "The golden run has %zu axes for `%.100s`, whose "
                    "port has %zu. Export the model again.", recording->rank, name, rank);
    for (size_t axis = 0; axis < rank && recording->rank == rank; axis++)
        if (is_batch(&axes[axis])) golden->batch = (size_t)recording->shape[axis];
    return EDGERNN_OK;
}

static edgernn_status read_golden(const edgernn_model *model, const char *folder, Golden *golden,
                                  edgernn_error *error) {
    const Side *in = &model->main->in, *out = &model->main->out;
    TAKE(golden->inputs.data, &golden->arena, in->data_count + 1);
    TAKE(golden->inputs.shapes, &golden->arena, in->data_count + 1);
    TAKE(golden->outputs, &golden->arena, out->data_count + 1);
    TAKE(golden->before, &golden->arena, model->state_count + 1);
    TAKE(golden->after, &golden->arena, model->state_count + 1);
    golden->steps = 1;
    golden->batch = 1;
    for (size_t i = 0; i < out->data_count; i++) {
        const View *view = &model->chunks[OUTPUTS][i];
        const bool is_of_steps = view->steps >= 0 && model->main == &model->graphs[EDGERNN_STEP];
        TRY(read_recording(folder, view->name, view->dtype, view->axes, view->rank, is_of_steps, golden,
                           &golden->outputs[i], error));
    }
    for (size_t i = 0; i < in->data_count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        Recording recording = {0};
        TRY(read_recording(folder, view->name, view->dtype, view->axes, view->rank, false, golden, &recording,
                           error));
        golden->inputs.data[i] = recording.data;
        memcpy(golden->inputs.shapes[i], recording.shape, sizeof recording.shape);
        if (view->steps >= 0 && !view->is_lengths && !view->flattened)
            golden->steps = recording.shape[view->steps];
    }
    golden->inputs.steps = golden->steps;
    for (size_t i = 0; i < model->state_count; i++) {
        const State *state = &model->states[i];
        TRY(read_recording(folder, state->output, state->dtype, state->axes, state->rank, false, golden,
                           &golden->after[i], error));
        TRY(read_recording(folder, state->input, state->dtype, state->axes, state->rank, false, golden,
                           &golden->before[i], error));
    }
    return EDGERNN_OK;
}

/* Raise *largest to the largest difference of some elements from recorded ones. */
static void compare(int32_t dtype, const void *data, const void *recorded, size_t count,
                    double *largest) {
    for (size_t i = 0; i < count; i++) {
        const double got = real_at(data, dtype, i), expected = real_at(recorded, dtype, i);
        double apart = got == expected ? 0 : fabs(got - expected);
        if (isnan(apart)) apart = (double)INFINITY;
        if (apart > *largest) *largest = apart;
    }
}

/* Return the largest finite magnitude of a recording, at least 1. */
static double magnitude(const Recording *recording) {
    double largest = 1;
    const size_t width = width_of(recording->dtype);
    for (size_t i = 0; i < recording->bytes / width; i++) {
        const double size = fabs(real_at(recording->data, recording->dtype, i));
        if (isfinite(size) && size > largest) largest = size;
    }
    return largest;
}

/* A replay in one way. */
typedef struct Replay {
    const Golden *golden;
    edgernn_stream *stream;
    double *apart;    /* of each output so far */
    size_t *compared; /* steps of each output so far, those that are not defined as well */
} Replay;

/* Compare the outputs of one call; `is_last` for the last one. */
static void compare_outputs(const Replay *replay, const edgernn_tensor *outputs, size_t count,
                            bool is_last) {
    const edgernn_model *model = replay->stream->model;
    for (size_t i = 0; i < model->main->out.data_count; i++) {
        const View *view = &model->chunks[OUTPUTS][i];
        const Recording *recording = &replay->golden->outputs[i];
        const edgernn_tensor *output = NULL;
        for (size_t j = 0; j < count; j++)
            if (!strcmp(outputs[j].name, view->name)) output = &outputs[j];
        if (!output || !output->data) {
            if (is_last && view->steps < 0) replay->apart[i] = (double)INFINITY;
            continue;
        }
        size_t bytes = 0;
        count_bytes(output->shape, output->rank, view->width, &bytes);
        const bool has_steps = view->steps >= 0 && recording->rank == view->rank;
        if (!has_steps) { /* of the last step alone */
            if (!is_last) continue;
            if (bytes != recording->bytes) replay->apart[i] = (double)INFINITY;
            else compare(view->dtype, output->data, recording->data, bytes / view->width, &replay->apart[i]);
            continue;
        }
        const Layout whole = layout_of(view, recording->shape, replay->golden->batch);
        const size_t row = whole.outer * whole.inner, steps = row ? bytes / row : 0;
        const size_t place = replay->compared[i];
        replay->compared[i] += steps;
        if (steps * row != bytes || replay->compared[i] > whole.steps) {
            replay->apart[i] = (double)INFINITY;
            continue;
        }
        for (size_t outer = 0; outer < whole.outer; outer++)
            compare(view->dtype, (const char *)output->data + outer * steps * whole.inner,
                    (const char *)recording->data + (outer * whole.steps + place) * whole.inner,
                    steps * whole.inner / view->width, &replay->apart[i]);
    }
}

/* Set the states of the stream to those at the start of the recording. */
static edgernn_status start_states(const Replay *replay, edgernn_error *error) {
    const edgernn_model *model = replay->stream->model;
    for (size_t i = 0; i < model->state_count; i++) {
        const Recording *before = &replay->golden->before[i];
        const edgernn_tensor value = {model->states[i].input, before->dtype, before->rank, before->shape,
                                      before->data};
        TRY(edgernn_set_state(replay->stream, &value, error));
    }
    return EDGERNN_OK;
}

/* Run a part of the recorded inputs, by edgernn_step or as a chunk. */
static edgernn_status replay_part(const Replay *replay, int64_t start, int64_t stop, bool by_step,
                                  edgernn_error *error) {
    edgernn_stream *stream = replay->stream;
    const edgernn_model *model = stream->model;
    const size_t count = model->main->in.data_count;
    const Call call = {false, start, stop};
    const bool is_whole = !start && stop == replay->golden->steps;
    Arena arena = {NULL};
    Chunk part = {0};
    const edgernn_tensor *outputs = NULL;
    size_t given = 0, output_count = 0;
    edgernn_tensor *inputs = take(&arena, count + 1, sizeof *inputs);
    edgernn_status status = inputs ? EDGERNN_OK : fail_memory(error);
    if (!status) status = cut_inputs(stream, &replay->golden->inputs, &call, &arena, &part, error);
    for (size_t i = 0; !status && i < count; i++) {
        const View *view = &model->chunks[INPUTS][i];
        const View *one = find_view(model->steps[INPUTS], model->step_input_count, view->name);
        size_t rank = view->rank;
        if (view->is_lengths && (by_step || !is_whole)) continue;
        if (view->is_lengths) part.data[i] = replay->golden->inputs.data[i];
        if (by_step && one && one->rank + 1 == rank) {
            drop_steps(view, part.shapes[i]);
            rank--;
        }
        inputs[given++] = (edgernn_tensor){view->name, view->dtype, rank, part.shapes[i], part.data[i]};
    }
    if (!status && by_step)
        status = edgernn_step(stream, inputs, given, &outputs, &output_count, error);
    else if (!status) status = feed(stream, inputs, given, &outputs, &output_count, error);
    if (!status) compare_outputs(replay, outputs, output_count, stop == replay->golden->steps);
    free_arena(&arena);
    return status;
}

/* Return the steps of the next chunk, which starts at `start`. */
static int64_t chunk_size(const edgernn_model *model, int64_t start, int64_t steps, int64_t number) {
    const int64_t least = model->least_steps > 1 ? model->least_steps : 1;
    int64_t size = model->constant_steps ? model->constant_steps : number * model->hop;
    while (size < least) size += model->hop;
    return steps - start - size < least && !model->constant_steps ? steps - start
           : size > steps - start                                 ? steps - start : size;
}

typedef enum Way { WHOLE, CHUNKS, STEPS } Way;

/* Replay a golden run in one way; *difference is the largest one. */
static edgernn_status replay_run(edgernn_model *model, const Golden *golden, Way way, bool feeds_back,
                                 double *difference, edgernn_error *error) {
    Arena arena = {NULL};
    const size_t outputs = model->main->out.data_count;
    Replay replay = {golden, NULL, take(&arena, outputs + 1, sizeof(double)),
                     take(&arena, outputs + 1, sizeof(size_t))};
    edgernn_status status = replay.apart && replay.compared
                                ? edgernn_stream_open(model, golden->batch, &replay.stream, error)
                                : fail_memory(error);
    if (!status) status = start_states(&replay, error);
    for (size_t i = 0; !status && i < outputs; i++)
        replay.compared[i] = (size_t)model->chunks[OUTPUTS][i].delay;
    for (int64_t start = 0, number = 1; !status && start < golden->steps; number++) {
        const int64_t size = way == WHOLE    ? golden->steps
                             : way == STEPS ? model->hop
                                            : chunk_size(model, start, golden->steps, number);
        if (start && !feeds_back) status = start_states(&replay, error);
        if (!status) status = replay_part(&replay, start, start + size, way == STEPS, error);
        start += size;
    }
    *difference = 0;
    for (size_t i = 0; !status && i < outputs; i++) {
        const View *view = &model->chunks[OUTPUTS][i];
        const Recording *recording = &golden->outputs[i];
        const bool has_steps = view->steps >= 0 && recording->rank == view->rank;
        const size_t steps = layout_of(view, recording->shape, golden->batch).steps;
        const double apart = has_steps && replay.compared[i] != steps ? (double)INFINITY
                                                                      : replay.apart[i] / magnitude(recording);
        if (apart > *difference) *difference = apart;
    }
    for (size_t i = 0; !status && i < model->state_count; i++) {
        const Recording *after = &golden->after[i];
        double apart = after->bytes == replay.stream->state_bytes[i] ? 0 : (double)INFINITY;
        if (apart == 0)
            compare(after->dtype, now(replay.stream)->memory[i], after->data,
                    after->bytes / width_of(after->dtype), &apart);
        apart /= magnitude(after);
        if (apart > *difference) *difference = apart;
    }
    edgernn_stream_close(replay.stream);
    free_arena(&arena);
    return status;
}

/* Replay a golden run in every way in which the model runs. */
static edgernn_status replay_ways(edgernn_model *model, const Golden *golden,
                                  edgernn_differences *found, edgernn_error *error) {
    const bool has_sequence = model->graphs[EDGERNN_SEQUENCE].session != NULL;
    const bool in_parts = model->carries && model->divisible;
    const bool has_steps = in_parts && step_graph(model) && golden->steps % model->hop == 0;
    if (has_sequence && golden->steps < model->least_steps)
        return fail(error, EDGERNN_CONTRACT_ERROR, "The golden run has %" PRId64 " step%s, but the "
                    "sequence graph takes at least %" PRId64 ". Export the model again.", golden->steps,
                    plural(golden->steps), model->least_steps);
    found->whole = found->chunks = found->steps = found->without_state = (double)NAN;
    if (has_sequence && (!model->constant_steps || model->constant_steps == golden->steps))
        TRY(replay_run(model, golden, WHOLE, true, &found->whole, error));
    if (has_sequence && in_parts) TRY(replay_run(model, golden, CHUNKS, true, &found->chunks, error));
    if (has_steps) TRY(replay_run(model, golden, STEPS, true, &found->steps, error));
    if (model->state_count && (has_steps || (has_sequence && in_parts)))
        TRY(replay_run(model, golden, has_steps ? STEPS : CHUNKS, false, &found->without_state, error));
    return EDGERNN_OK;
}

edgernn_status edgernn_check(edgernn_model *model, const char *golden, edgernn_differences *differences,
                             edgernn_error *error) {
    Golden recorded = {{NULL}, {0}, NULL, NULL, NULL, 0, 0};
    edgernn_differences found;
    edgernn_error reason = {""};
    char *folder = NULL;
    clear(error);
    if (!model || !differences)
        return fail(error, EDGERNN_INPUT_ERROR, "`%s` is NULL. Give an open model and a place for the "
                    "differences.", model ? "differences" : "model");
    if (!golden && !model->folder)
        return fail(error, EDGERNN_INPUT_ERROR, "The model was not opened from an artifact's folder. "
                    "Give the path of its golden run.");
    if (!golden) {
        const size_t size = strlen(model->folder) + 8;
        if (!(folder = take(&recorded.arena, size, 1))) return fail_memory(error);
        snprintf(folder, size, "%s/golden", model->folder);
    }
    edgernn_status status = read_golden(model, golden ? golden : folder, &recorded, &reason);
    if (!status) status = replay_ways(model, &recorded, &found, &reason);
    free_arena(&recorded.arena);
    if (!status) *differences = found;
    else if (status == EDGERNN_INPUT_ERROR || status == EDGERNN_STATE_ERROR)
        return fail(error, EDGERNN_CONTRACT_ERROR, "The golden run does not fit the model: %s",
                    reason.message);
    else fail(error, status, "%s", reason.message);
    return status;
}
