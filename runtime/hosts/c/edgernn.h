/* Run an artifact of edgernn in any app: a recurrent model with its state, on ONNX Runtime.
 *
 *     edgernn_model *model;
 *     edgernn_stream *stream;
 *     edgernn_error error;
 *     if (edgernn_open("model.edgernn", NULL, &model, &error)) { puts(error.message); ... }
 *     if (edgernn_stream_open(model, 1, &stream, &error)) ...
 *     float x[10] = {0};
 *     const int64_t shape[] = {1, 10};
 *     const edgernn_tensor input = {"x", EDGERNN_FLOAT32, 2, shape, x};
 *     const edgernn_tensor *outputs;
 *     if (edgernn_step(stream, &input, 1, &outputs, NULL, &error)) ...
 *     const float *y = outputs[0].data;       // valid until the stream's next call
 *     edgernn_stream_close(stream);
 *     edgernn_close(model);
 *
 * Nothing about a model is compiled in: ports, states, initial values and the vocabulary are read
 * from the graphs' metadata. ONNX Runtime's shared library is loaded when a model is opened; no
 * header of it is needed, and no version is pinned: every one from 1.14 on serves.
 *
 * Errors. A call that can fail returns an edgernn_status, EDGERNN_OK being 0, and writes a sentence
 * into `error`, which may be NULL. A call that failed changes nothing: the state, the outputs of the
 * last call and the caller's variables are as they were.
 *
 * Threads. A model is immutable; any number of threads may use it. A stream belongs to one thread at
 * a time; streams of one model run in parallel.
 *
 * Memory. What edgernn returns belongs to edgernn, what the caller passes in belongs to the caller,
 * and is copied before a call returns. Each function says how long its pointers are valid. After its
 * first call of each size, a stream allocates nothing in edgernn_step. */
#ifndef EDGERNN_H
#define EDGERNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef EDGERNN_API
#if defined _WIN32 && defined EDGERNN_SHARED
#ifdef EDGERNN_BUILD
#define EDGERNN_API __declspec(dllexport)
#else
#define EDGERNN_API __declspec(dllimport)
#endif
#elif defined __GNUC__
#define EDGERNN_API __attribute__((visibility("default")))
#else
#define EDGERNN_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum edgernn_status {
    EDGERNN_OK = 0,
    EDGERNN_CONTRACT_ERROR = 1, /* a graph or an artifact breaks the contract, or is not one */
    EDGERNN_PROVIDER_ERROR = 2, /* ONNX Runtime is not there, lacks the provider, or failed */
    EDGERNN_INPUT_ERROR = 3,    /* an argument has the wrong name, dtype, shape or value */
    EDGERNN_STATE_ERROR = 4,    /* a state or a snapshot does not fit the model */
    EDGERNN_MEMORY_ERROR = 5    /* there is no memory */
} edgernn_status;

/* The types of elements, by ONNX's numbers. A bool is one byte, 0 or 1. */
typedef enum edgernn_dtype {
    EDGERNN_FLOAT32 = 1,
    EDGERNN_UINT8 = 2,
    EDGERNN_INT8 = 3,
    EDGERNN_UINT16 = 4,
    EDGERNN_INT16 = 5,
    EDGERNN_INT32 = 6,
    EDGERNN_INT64 = 7,
    EDGERNN_BOOL = 9,
    EDGERNN_FLOAT16 = 10,
    EDGERNN_FLOAT64 = 11,
    EDGERNN_UINT32 = 12,
    EDGERNN_UINT64 = 13
} edgernn_dtype;

typedef enum edgernn_graph {
    EDGERNN_SEQUENCE = 0, /* chunks of any length */
    EDGERNN_STEP = 1      /* one step, or one hop where the model takes several steps at a time */
} edgernn_graph;

enum { EDGERNN_MESSAGE_SIZE = 1024 };

/* One sentence in UTF-8, cut to the size where it is longer. Empty after a call that succeeded. */
typedef struct edgernn_error {
    char message[EDGERNN_MESSAGE_SIZE];
} edgernn_error;

/* An array in row-major order, in the machine's byte order.
 *
 * name: the port; of an input it may be NULL where the model has one data input.
 * dtype: an edgernn_dtype. rank, shape: the number of axes and their sizes; shape may be NULL for
 * rank 0. data: the elements, aligned for their type; NULL for an output that is not defined yet. */
typedef struct edgernn_tensor {
    const char *name;
    int32_t dtype;
    size_t rank;
    const int64_t *shape;
    const void *data;
} edgernn_tensor;

/* An input or output of a graph; valid while the model is open.
 *
 * shape: the size of each axis, -1 where it varies. axes: the name of each axis (`batch`,
 * `sequence`, `hop`), "" where it has none.
 * limit: ids are less than it; 0 where there is no limit. delay: of an output, how many of its first
 * steps in a sequence are not defined; edgernn leaves them out. tail: of an output, how many steps
 * come only from edgernn_finish. is_state: whether it is an input or output of a state, which a
 * stream feeds itself. is_lengths: whether it is an input that holds the number of steps of each
 * sequence, which a stream fills itself. */
typedef struct edgernn_port {
    const char *name;
    int32_t dtype;
    size_t rank;
    const int64_t *shape;
    const char *const *axes;
    int64_t limit;
    int64_t delay;
    int64_t tail;
    bool is_state;
    bool is_lengths;
} edgernn_port;

/* How a model is opened; all zero (or NULL for the whole) is one thread on the CPU.
 *
 * library: the path or name of ONNX Runtime's shared library. NULL takes $ONNXRUNTIME_LIBRARY,
 * then a library of the usual name beside the program or this library, then where the system's
 * loader looks.
 * api_base: what OrtGetApiBase() returned in an app that is linked with ONNX Runtime, as on iOS;
 * `library` is not read then.
 * provider: `cpu`, or another with its options, as `cuda:device_id=1,use_tf32=0`. A provider that
 * does not run the recurrent nodes is an error, never a silent CPU.
 * threads: how many run one call; 0 is 1. At most 1024. */
typedef struct edgernn_options {
    const char *library;
    const void *api_base;
    const char *provider;
    int32_t threads;
} edgernn_options;

typedef struct edgernn_model edgernn_model;
typedef struct edgernn_stream edgernn_stream;

/* ---- Models ---------------------------------------------------------------------------------- */

/* Open an artifact's folder, or one of its graphs, an .onnx file.
 *
 * options may be NULL. *model is closed with edgernn_close.
 * Errors: EDGERNN_CONTRACT_ERROR: there is no graph, one has no contract or another version of it,
 * or the two are not of one family; EDGERNN_PROVIDER_ERROR; EDGERNN_MEMORY_ERROR. */
EDGERNN_API edgernn_status edgernn_open(const char *path, const edgernn_options *options,
                                        edgernn_model **model, edgernn_error *error);

/* Open graphs that are in memory; either may be NULL with size 0. The bytes may be freed afterwards.
 * Errors: as edgernn_open. */
EDGERNN_API edgernn_status edgernn_open_memory(const void *sequence, size_t sequence_size,
                                               const void *step, size_t step_size,
                                               const edgernn_options *options,
                                               edgernn_model **model, edgernn_error *error);

/* Close a model, or do nothing for NULL. Its streams may be closed before or after it: the last of
 * them frees what they share. */
EDGERNN_API void edgernn_close(edgernn_model *model);

/* Whether the model has such a graph. */
EDGERNN_API bool edgernn_has_graph(const edgernn_model *model, edgernn_graph graph);

/* The number of inputs and outputs of a graph, states included; 0 without the graph. */
EDGERNN_API size_t edgernn_input_count(const edgernn_model *model, edgernn_graph graph);
EDGERNN_API size_t edgernn_output_count(const edgernn_model *model, edgernn_graph graph);

/* A port by its place from 0, in the order of the graph; NULL past the end. */
EDGERNN_API const edgernn_port *edgernn_input(const edgernn_model *model, edgernn_graph graph,
                                              size_t place);
EDGERNN_API const edgernn_port *edgernn_output(const edgernn_model *model, edgernn_graph graph,
                                               size_t place);

/* The entry `edgernn.KEY` of the graphs' metadata, as `sample_rate` or `source`; NULL without it.
 * Valid while the model is open. */
EDGERNN_API const char *edgernn_metadata(const edgernn_model *model, const char *key);

/* The steps of the input that one call of edgernn_step takes; 1 for most models. */
EDGERNN_API size_t edgernn_hop(const edgernn_model *model);

/* Whether a state goes from chunk to chunk. Where it does not, as for a layer of both directions,
 * only edgernn_run runs the model. */
EDGERNN_API bool edgernn_carries(const edgernn_model *model);

/* The provider that runs the nodes, as `cpu`, and the version of ONNX Runtime, as `1.31.1`. Valid
 * while the model is open. */
EDGERNN_API const char *edgernn_provider(const edgernn_model *model);
EDGERNN_API const char *edgernn_onnxruntime_version(const edgernn_model *model);

/* ---- Vocabulary ------------------------------------------------------------------------------ */

/* The number of symbols; 0 where the model has no vocabulary. */
EDGERNN_API size_t edgernn_vocabulary_size(const edgernn_model *model);

/* The symbol of an id in UTF-8, NULL for an id that is not in the vocabulary. Valid while the model
 * is open. The symbol of the padding is its own text; edgernn_decode leaves it out. */
EDGERNN_API const char *edgernn_symbol(const edgernn_model *model, int64_t id);

/* Write the ids of a text of `size` bytes in UTF-8, taking the longest symbol that fits at each
 * place. In a vocabulary of words, white space separates them.
 *
 * *count is the number of ids of the whole text, also where it is more than `capacity`; then only
 * the first `capacity` are written. ids may be NULL with capacity 0.
 * Errors: EDGERNN_INPUT_ERROR: there is no vocabulary, the text is not UTF-8, or something in it is
 * not in a vocabulary without an unknown symbol. */
EDGERNN_API edgernn_status edgernn_encode(const edgernn_model *model, const char *text, size_t size,
                                          int64_t *ids, size_t capacity, size_t *count,
                                          edgernn_error *error);

/* Write the text of ids in UTF-8, with a NUL at its end; padding is left out.
 *
 * *size is the number of bytes of the whole text without the NUL; where it is not less than
 * `capacity`, the text is cut between two symbols. text may be NULL with capacity 0.
 * Errors: EDGERNN_INPUT_ERROR: there is no vocabulary, or an id is not in it. */
EDGERNN_API edgernn_status edgernn_decode(const edgernn_model *model, const int64_t *ids,
                                          size_t count, char *text, size_t capacity, size_t *size,
                                          edgernn_error *error);

/* ---- Streams --------------------------------------------------------------------------------- */

/* Open a stream: one running state for `batch` sequences side by side, at its initial value.
 * *stream is closed with edgernn_stream_close; it keeps what it needs of the model.
 * Errors: EDGERNN_INPUT_ERROR: batch is 0, or not the constant batch of the model;
 * EDGERNN_MEMORY_ERROR. */
EDGERNN_API edgernn_status edgernn_stream_open(edgernn_model *model, size_t batch,
                                               edgernn_stream **stream, edgernn_error *error);

/* Close a stream, or do nothing for NULL. */
EDGERNN_API void edgernn_stream_close(edgernn_stream *stream);

/* Run one step, or one hop where the model takes several steps at a time.
 *
 * inputs, count: one tensor for each data input, in any order, with the shape of the step graph's
 * port: (batch, input_size) of float32, ids (batch) of int64, (batch, hop) where there are hops.
 * *outputs: the data outputs in the order of the graph, as many as *output_count. Both may be NULL.
 * They are valid until the next call of this stream. At the start of a sequence, an output with an
 * axis of steps comes without those that are not defined, and one without has data NULL until it is.
 * Errors: EDGERNN_INPUT_ERROR: an input is missing, or has another name, dtype or shape than its
 * port, or an id is not one; steps are kept that do not fill a hop; the sequence has ended or has
 * no positions left; the model has no step. EDGERNN_PROVIDER_ERROR: ONNX Runtime failed. */
EDGERNN_API edgernn_status edgernn_step(edgernn_stream *stream, const edgernn_tensor *inputs,
                                        size_t count, const edgernn_tensor **outputs,
                                        size_t *output_count, edgernn_error *error);

/* Run a chunk of any number of steps, exactly as the same steps one by one.
 *
 * inputs: as the sequence graph's ports say: (batch, steps, input_size), or with the axes in the
 * model's own order; where the model has a step graph only, the step's arrays with a leading axis of
 * steps, or with any number of steps on the axis of a hop. Steps that do not fill a hop are kept for
 * the next chunk (edgernn_rest).
 * *outputs: as those of edgernn_step, with the shape of the sequence graph's ports; without steps
 * where no hop is complete.
 * Errors: as edgernn_step. */
EDGERNN_API edgernn_status edgernn_feed(edgernn_stream *stream, const edgernn_tensor *inputs,
                                        size_t count, const edgernn_tensor **outputs,
                                        size_t *output_count, edgernn_error *error);

/* End the sequence and return the steps of outputs that come only then (edgernn_port.tail); no
 * steps for most models. inputs: the data inputs that have no axis of steps, none in most models.
 * The stream then takes no more steps before edgernn_reset or edgernn_restore.
 * Errors: as edgernn_step. */
EDGERNN_API edgernn_status edgernn_finish(edgernn_stream *stream, const edgernn_tensor *inputs,
                                          size_t count, const edgernn_tensor **outputs,
                                          size_t *output_count, edgernn_error *error);

/* Run whole sequences from the initial state, tails included, as the model itself would. Any model
 * can be run so. Data inputs that hold lengths may be given. The stream's own sequence is dropped:
 * it is at its initial state afterwards.
 * Errors: as edgernn_step. */
EDGERNN_API edgernn_status edgernn_run(edgernn_stream *stream, const edgernn_tensor *inputs,
                                       size_t count, const edgernn_tensor **outputs,
                                       size_t *output_count, edgernn_error *error);

/* Return to the initial state; steps that are kept for a hop are dropped. */
EDGERNN_API void edgernn_reset(edgernn_stream *stream);

/* The steps that were run since the stream was opened or reset, and those that are kept until they
 * fill a hop. */
EDGERNN_API uint64_t edgernn_steps(const edgernn_stream *stream);
EDGERNN_API size_t edgernn_rest(const edgernn_stream *stream);

/* The bytes of a snapshot of this moment; it grows by what is kept for a hop. */
EDGERNN_API size_t edgernn_snapshot_size(const edgernn_stream *stream);

/* Write all that the stream needs to go on from here: its states, counts and what it keeps for a
 * hop, with the family of the artifact. A snapshot may be stored; it fits machines of the same byte
 * order. Errors: EDGERNN_INPUT_ERROR: `size` is less than edgernn_snapshot_size. */
EDGERNN_API edgernn_status edgernn_snapshot(const edgernn_stream *stream, void *buffer, size_t size,
                                            edgernn_error *error);

/* Continue from a snapshot of a stream of the same artifact and batch.
 * Errors: EDGERNN_STATE_ERROR: it is damaged, or of another artifact or batch. */
EDGERNN_API edgernn_status edgernn_restore(edgernn_stream *stream, const void *snapshot,
                                           size_t size, edgernn_error *error);

/* Return the current value of a state by the name of its input, as `h_in`. *value is valid until the
 * next call of this stream. Errors: EDGERNN_STATE_ERROR: there is no such state. */
EDGERNN_API edgernn_status edgernn_state(edgernn_stream *stream, const char *name,
                                         const edgernn_tensor **value, edgernn_error *error);

/* Set a state by the name of its input, with the shape of its port for the batch of this stream.
 * Errors: EDGERNN_STATE_ERROR: the name, dtype, shape or a value is not the state's (NaN and
 * infinite numbers are none). */
EDGERNN_API edgernn_status edgernn_set_state(edgernn_stream *stream, const edgernn_tensor *value,
                                             edgernn_error *error);

/* ---- The golden run -------------------------------------------------------------------------- */

/* The largest differences of outputs and final states from a recorded run: NaN for a way in which
 * the model does not run, infinity where a number is not finite or is missing. Where an array has
 * magnitudes above 1, its differences are divided by the largest.
 *
 * whole: the sequences in one call. chunks: in chunks of 1, 2, 3 and so on hops, each from the state
 * before. steps: by edgernn_step. without_state: a control, in which the state is not fed back; it
 * must be large, or the other figures prove nothing. */
typedef struct edgernn_differences {
    double whole;
    double chunks;
    double steps;
    double without_state;
} edgernn_differences;

/* Replay the golden run of an artifact, a folder of arrays: PORT.npy for each port. golden may be
 * NULL for a model that was opened from its folder, whose own `golden` is taken then.
 *
 * Errors: EDGERNN_CONTRACT_ERROR: an array is missing, is not a plain .npy file, or does not have
 * the dtype and shape of its port; EDGERNN_INPUT_ERROR: golden is NULL, and the model has no folder;
 * and as edgernn_feed. */
EDGERNN_API edgernn_status edgernn_check(edgernn_model *model, const char *golden,
                                         edgernn_differences *differences, edgernn_error *error);

#ifdef __cplusplus
}
#endif

#endif
