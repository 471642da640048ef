package edgernn

/*
#include <stdlib.h>
#include "edgernn.h"

// A stream and all that one of its calls reads and writes, in memory of C: one call from Go is one
// call of C, and no pointer of Go is ever in memory of C.
typedef struct {
	edgernn_stream *stream;
	char *memory; // edgernn_go_input of each input, then what they say, then the tensors
	size_t capacity;
	const edgernn_tensor *outputs;
	size_t output_count;
	edgernn_error error;
} edgernn_go_call;

// An input: where its parts are in the memory, in bytes.
typedef struct {
	int64_t name, dtype, rank, shape, data; // name is -1 where there is none
} edgernn_go_input;

enum { GO_STEP, GO_FEED, GO_FINISH, GO_RUN, GO_SET_STATE, GO_STATE };

static edgernn_status edgernn_go_run(edgernn_go_call *call, int how, size_t count, size_t at) {
	const edgernn_go_input *inputs = (const edgernn_go_input *)(const void *)call->memory;
	edgernn_tensor *tensors = (edgernn_tensor *)(void *)(call->memory + at);
	for (size_t i = 0; i < count; i++) {
		tensors[i].name = inputs[i].name < 0 ? NULL : call->memory + inputs[i].name;
		tensors[i].dtype = (int32_t)inputs[i].dtype;
		tensors[i].rank = (size_t)inputs[i].rank;
		tensors[i].shape = (const int64_t *)(const void *)(call->memory + inputs[i].shape);
		tensors[i].data = call->memory + inputs[i].data;
	}
	switch (how) {
	case GO_STEP:
		return edgernn_step(call->stream, tensors, count, &call->outputs, &call->output_count,
			&call->error);
	case GO_FEED:
		return edgernn_feed(call->stream, tensors, count, &call->outputs, &call->output_count,
			&call->error);
	case GO_FINISH:
		return edgernn_finish(call->stream, tensors, count, &call->outputs, &call->output_count,
			&call->error);
	case GO_RUN:
		return edgernn_run(call->stream, tensors, count, &call->outputs, &call->output_count,
			&call->error);
	case GO_SET_STATE:
		return edgernn_set_state(call->stream, tensors, &call->error);
	default:
		call->output_count = 1;
		return edgernn_state(call->stream, tensors->name ? tensors->name : "", &call->outputs,
			&call->error);
	}
}
*/
import "C"

import (
	"runtime"
	"sync"
	"unsafe"
)

// Stream is one running state of a model, for a number of sequences side by side. Its calls are
// serialized; for parallel work, open a stream for each goroutine.
//
// The outputs of a call belong to the stream: they are valid until its next call. Tensor.Clone
// copies one.
type Stream struct {
	mutex   sync.Mutex
	call    *C.edgernn_go_call // nil once closed
	results []result
	outputs []Tensor
}

// result is the memory of an output, used again by each call.
type result struct {
	source *C.char // the name in C, which the core keeps
	name   string
	shape  []int
	words  []uint64
}

// NewStream opens a stream at the initial state, for batch sequences side by side.
func (model *Model) NewStream(batch int) (*Stream, error) {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return nil, ErrClosed
	}
	if batch < 0 {
		return nil, inputError("`batch` is %d, not at least 1.", batch)
	}
	call := (*C.edgernn_go_call)(C.calloc(1, C.sizeof_edgernn_go_call))
	if call == nil {
		return nil, &Error{MemoryError, "There is no memory for a stream."}
	}
	status := C.edgernn_stream_open(model.model, C.size_t(batch), &call.stream, &call.error)
	if err := failure(status, &call.error); err != nil {
		C.free(unsafe.Pointer(call))
		return nil, err
	}
	stream := &Stream{call: call}
	runtime.SetFinalizer(stream, (*Stream).Close)
	return stream, nil
}

// Close frees the stream, before or after its model. Only the first call does something; the error
// is always nil. Outputs that were returned stay valid.
func (stream *Stream) Close() error {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	if stream.call != nil {
		C.edgernn_stream_close(stream.call.stream)
		C.free(unsafe.Pointer(stream.call.memory))
		C.free(unsafe.Pointer(stream.call))
		stream.call = nil
		runtime.SetFinalizer(stream, nil)
	}
	return nil
}

// Step runs one step, or one hop where the model takes several steps at a time. Inputs have the
// shape of the step graph's ports, in any order; outputs are in the order of the graph.
func (stream *Stream) Step(inputs ...Tensor) ([]Tensor, error) {
	return stream.run(C.GO_STEP, inputs)
}

// Feed runs a chunk of any number of steps, exactly as the same steps one by one. Steps that do not
// fill a hop are kept for the next chunk.
func (stream *Stream) Feed(inputs ...Tensor) ([]Tensor, error) {
	return stream.run(C.GO_FEED, inputs)
}

// Finish ends the sequence and returns the steps of outputs that come only then. The stream takes
// no more steps before Reset or Restore.
func (stream *Stream) Finish(inputs ...Tensor) ([]Tensor, error) {
	return stream.run(C.GO_FINISH, inputs)
}

// Run runs whole sequences from the initial state, as the model itself would. The stream's own
// sequence is dropped.
func (stream *Stream) Run(inputs ...Tensor) ([]Tensor, error) {
	return stream.run(C.GO_RUN, inputs)
}

// State returns a copy of a state by the name of its input, as `h_in`.
func (stream *Stream) State(name string) (Tensor, error) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	values, err := stream.runLocked(C.GO_STATE, []Tensor{NewTensor(name, []bool{}, 0)})
	if err != nil {
		return Tensor{}, err
	}
	return values[0].Clone(), nil
}

// SetState sets a state by the name of its input.
func (stream *Stream) SetState(value Tensor) error {
	_, err := stream.run(C.GO_SET_STATE, []Tensor{value})
	return err
}

func (stream *Stream) run(how C.int, inputs []Tensor) ([]Tensor, error) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	return stream.runLocked(how, inputs)
}

func (stream *Stream) runLocked(how C.int, inputs []Tensor) ([]Tensor, error) {
	call := stream.call
	if call == nil {
		return nil, ErrClosed
	}
	tensors, err := stream.place(inputs)
	if err != nil {
		return nil, err
	}
	status := C.edgernn_go_run(call, how, C.size_t(len(inputs)), C.size_t(tensors))
	if status != C.EDGERNN_OK {
		return nil, failure(status, &call.error)
	}
	if how == C.GO_SET_STATE {
		return nil, nil
	}
	return stream.read(), nil
}

// aligned returns the place after size bytes, aligned for every type.
func aligned(size int) int { return (size + 15) &^ 15 }

// place copies inputs to the memory of C, and returns where the tensors of C go.
func (stream *Stream) place(inputs []Tensor) (int, error) {
	call := stream.call
	end := aligned((len(inputs) + 1) * C.sizeof_edgernn_go_input)
	total := end + len(inputs)*C.sizeof_edgernn_tensor
	for i := range inputs {
		input := &inputs[i]
		if err := input.check(); err != nil {
			return 0, err
		}
		total += aligned(8*len(input.Shape)) + aligned(len(input.data)) + aligned(len(input.Name)+1)
	}
	if total > int(call.capacity) {
		memory := C.realloc(unsafe.Pointer(call.memory), C.size_t(total))
		if memory == nil {
			return 0, &Error{MemoryError, "There is no memory for the inputs of a call."}
		}
		call.memory, call.capacity = (*C.char)(memory), C.size_t(total)
	}
	memory := unsafe.Slice((*byte)(unsafe.Pointer(call.memory)), total)
	places := unsafe.Slice((*C.edgernn_go_input)(unsafe.Pointer(call.memory)), len(inputs)+1)
	for i := range inputs {
		input, place := &inputs[i], &places[i]
		place.dtype, place.rank = C.int64_t(input.dtype), C.int64_t(len(input.Shape))
		place.shape = C.int64_t(end)
		for j, length := range input.Shape {
			*(*int64)(unsafe.Pointer(&memory[end+8*j])) = int64(length)
		}
		end += aligned(8 * len(input.Shape))
		place.data = C.int64_t(end)
		end += aligned(copy(memory[end:], input.data))
		place.name = -1
		if input.Name != "" {
			place.name = C.int64_t(end)
			memory[end+copy(memory[end:], input.Name)] = 0
			end += aligned(len(input.Name) + 1)
		}
	}
	return end, nil
}

// read copies the outputs of a call to memory of Go.
func (stream *Stream) read() []Tensor {
	given := unsafe.Slice(stream.call.outputs, stream.call.output_count)
	for len(stream.results) < len(given) {
		stream.results = append(stream.results, result{})
		stream.outputs = append(stream.outputs, Tensor{})
	}
	for i := range given {
		from, to := &given[i], &stream.results[i]
		if from.name != to.source {
			to.source, to.name = from.name, C.GoString(from.name)
		}
		to.shape = to.shape[:0]
		for _, length := range unsafe.Slice(from.shape, from.rank) {
			to.shape = append(to.shape, int(length))
		}
		output := Tensor{to.name, to.shape, DType(from.dtype), nil}
		if from.data != nil {
			size := output.bytes()
			if to.words == nil || size > 8*len(to.words) {
				to.words = make([]uint64, size/8+1)
			}
			output.data = bytesOf(to.words)[:size]
			copy(output.data, unsafe.Slice((*byte)(from.data), size))
		}
		stream.outputs[i] = output
	}
	return stream.outputs[:len(given)]
}

// Reset returns to the initial state; steps that are kept for a hop are dropped.
func (stream *Stream) Reset() error {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	if stream.call == nil {
		return ErrClosed
	}
	C.edgernn_reset(stream.call.stream)
	return nil
}

// Steps returns the steps that were run since the stream was opened or reset; 0 once it is closed.
func (stream *Stream) Steps() uint64 {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	if stream.call == nil {
		return 0
	}
	return uint64(C.edgernn_steps(stream.call.stream))
}

// Rest returns the steps that are kept until they fill a hop; 0 once the stream is closed.
func (stream *Stream) Rest() int {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	if stream.call == nil {
		return 0
	}
	return int(C.edgernn_rest(stream.call.stream))
}

// Snapshot returns all that a stream of the same artifact and batch needs to go on from here.
func (stream *Stream) Snapshot() ([]byte, error) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	if stream.call == nil {
		return nil, ErrClosed
	}
	call := stream.call
	snapshot := make([]byte, C.edgernn_snapshot_size(call.stream))
	status := C.edgernn_snapshot(call.stream, start(snapshot), C.size_t(len(snapshot)), &call.error)
	if err := failure(status, &call.error); err != nil {
		return nil, err
	}
	return snapshot, nil
}

// Restore goes on from a snapshot of a stream of the same artifact and batch.
func (stream *Stream) Restore(snapshot []byte) error {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	if stream.call == nil {
		return ErrClosed
	}
	call := stream.call
	status := C.edgernn_restore(call.stream, start(snapshot), C.size_t(len(snapshot)), &call.error)
	return failure(status, &call.error)
}
