// Package edgernn runs an artifact of edgernn: a recurrent model with its state, on ONNX Runtime.
//
//	model, err := edgernn.Open("model.edgernn", edgernn.Options{})
//	if err != nil { ... }
//	defer model.Close()
//	stream, err := model.NewStream(1)
//	if err != nil { ... }
//	defer stream.Close()
//	x := make([]float32, 10)
//	input := edgernn.NewTensor("x", x, 1, 10) // made once: it refers to x
//	for read(x) {
//		outputs, err := stream.Step(input)
//		if err != nil { ... }
//		y, err := edgernn.Data[float32](outputs[0]) // valid until the stream's next call
//	}
//
// A Model may be used by any number of goroutines at once. A Stream is one running state: its calls
// are serialized, so that goroutines need a stream each, and streams run in parallel.
//
// The package is a wrapper of edgernn.c, which lies in its folder and is compiled with it.
package edgernn

/*
#cgo CFLAGS: -std=c11 -O2
#cgo linux LDFLAGS: -ldl -lm
#include <stdlib.h>
#include "edgernn.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Kind says what a caller can do about an Error.
type Kind int

const (
	ContractError Kind = C.EDGERNN_CONTRACT_ERROR // a graph or an artifact breaks the contract
	ProviderError Kind = C.EDGERNN_PROVIDER_ERROR // ONNX Runtime is not there, or failed
	InputError    Kind = C.EDGERNN_INPUT_ERROR    // an argument has the wrong name, type or shape
	StateError    Kind = C.EDGERNN_STATE_ERROR    // a state or snapshot does not fit the model
	MemoryError   Kind = C.EDGERNN_MEMORY_ERROR   // there is no memory
)

func (kind Kind) String() string {
	names := [...]string{"ok", "contract", "provider", "input", "state", "memory"}
	if kind < 0 || int(kind) >= len(names) {
		return fmt.Sprintf("kind %d", int(kind))
	}
	return names[kind]
}

// Error is the type of every error of this package; errors.As finds it. A call that failed has
// changed nothing.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

// ErrClosed is the error of every call on a model or stream after its Close.
var ErrClosed error = &Error{InputError, "The model or stream is closed. Open another one."}

func inputError(format string, arguments ...any) error {
	return &Error{InputError, fmt.Sprintf(format, arguments...)}
}

func failure(status C.edgernn_status, e *C.edgernn_error) error {
	if status == C.EDGERNN_OK {
		return nil
	}
	return &Error{Kind(status), C.GoString(&e.message[0])}
}

// Graph names one of the two graphs of an artifact.
type Graph int

const (
	Sequence Graph = C.EDGERNN_SEQUENCE // chunks of any length
	Step     Graph = C.EDGERNN_STEP     // one step, or one hop
)

// Options say how a model is opened. The zero value is one thread on the CPU.
type Options struct {
	// Library is the path or name of ONNX Runtime's shared library. Where it is empty, it is
	// $ONNXRUNTIME_LIBRARY, then a library of the usual name beside the program, then where the
	// system's loader looks.
	Library string
	// APIBase is what OrtGetApiBase() returned, in a program that is linked with ONNX Runtime;
	// Library is not read then.
	APIBase unsafe.Pointer
	// Provider is `cpu` where it is empty, or another with its options, as
	// `cuda:device_id=1,use_tf32=0`.
	Provider string
	// Threads run one call; 0 is 1.
	Threads int
}

// Port is an input or output of a graph.
type Port struct {
	Name      string
	DType     DType
	Shape     []int    // -1 where the size of an axis varies
	Axes      []string // `batch`, `sequence`, `hop`, or empty
	Limit     int64    // ids are less than it; 0 where there is no limit
	Delay     int      // the first steps of an output that are not defined, and left out
	Tail      int      // the last steps of an output that come only from Finish
	IsState   bool     // whether a stream feeds it from its state
	IsLengths bool     // whether it holds the steps of each sequence, which a stream fills
}

// Differences are the largest differences from the golden run, NaN where a way does not apply.
type Differences struct {
	Whole  float64 // the run in one call
	Chunks float64 // the same in chunks of growing lengths
	Steps  float64 // the same step by step
	// WithoutState is the control: step by step, with the state reset before each. It must differ.
	WithoutState float64
}

// Model is an open artifact. It is immutable, and may be used by any number of goroutines.
type Model struct {
	mutex    sync.RWMutex
	model    *C.edgernn_model // nil once closed
	hop      int
	carries  bool
	provider string
	version  string
}

// cstring returns a copy that C can read, nil for an empty text; free it.
func cstring(what, text string) (*C.char, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, inputError("%s `%q` has a NUL byte. Give text without one.", what, text)
	}
	if text == "" {
		return nil, nil
	}
	return C.CString(text), nil
}

// fill writes options for C; free their library and provider, also after an error.
func (options Options) fill(into *C.edgernn_options) (err error) {
	if into.library, err = cstring("The library", options.Library); err != nil {
		return err
	}
	if into.provider, err = cstring("The provider", options.Provider); err != nil {
		return err
	}
	into.api_base, into.threads = options.APIBase, -1 // which is refused
	if options.Threads >= 0 && options.Threads <= math.MaxInt32 {
		into.threads = C.int32_t(options.Threads)
	}
	return nil
}

// Open opens an artifact's folder, or one of its graphs, an .onnx file.
func Open(path string, options Options) (*Model, error) {
	name, err := cstring("The path", path)
	if err != nil {
		return nil, err
	}
	if name == nil {
		name = C.CString("")
	}
	defer C.free(unsafe.Pointer(name))
	return open(options, func(given *C.edgernn_options, e *C.edgernn_error) (*C.edgernn_model, error) {
		var model *C.edgernn_model
		err := failure(C.edgernn_open(name, given, &model, e), e)
		return model, err
	})
}

// OpenMemory opens graphs that are in memory; either may be nil.
func OpenMemory(sequence, step []byte, options Options) (*Model, error) {
	return open(options, func(given *C.edgernn_options, e *C.edgernn_error) (*C.edgernn_model, error) {
		var model *C.edgernn_model
		err := failure(C.edgernn_open_memory(start(sequence), C.size_t(len(sequence)), start(step),
			C.size_t(len(step)), given, &model, e), e)
		return model, err
	})
}

// start returns the address of bytes, nil where there are none.
func start(bytes []byte) unsafe.Pointer {
	if len(bytes) == 0 {
		return nil
	}
	return unsafe.Pointer(&bytes[0])
}

func open(
	options Options, call func(*C.edgernn_options, *C.edgernn_error) (*C.edgernn_model, error),
) (*Model, error) {
	var given C.edgernn_options
	var e C.edgernn_error
	defer func() {
		C.free(unsafe.Pointer(given.library))
		C.free(unsafe.Pointer(given.provider))
	}()
	if err := options.fill(&given); err != nil {
		return nil, err
	}
	opened, err := call(&given, &e)
	if err != nil {
		return nil, err
	}
	model := &Model{
		model:    opened,
		hop:      int(C.edgernn_hop(opened)),
		carries:  bool(C.edgernn_carries(opened)),
		provider: C.GoString(C.edgernn_provider(opened)),
		version:  C.GoString(C.edgernn_onnxruntime_version(opened)),
	}
	runtime.SetFinalizer(model, (*Model).Close)
	return model, nil
}

// Close frees the model. Its streams go on until they are closed themselves. Only the first call
// does something; the error is always nil.
func (model *Model) Close() error {
	model.mutex.Lock()
	defer model.mutex.Unlock()
	C.edgernn_close(model.model)
	model.model = nil
	runtime.SetFinalizer(model, nil)
	return nil
}

// Hop returns the steps of the input that one call of Stream.Step takes; 1 for most models.
func (model *Model) Hop() int { return model.hop }

// Carries returns whether a state goes from chunk to chunk. Where it does not, as for a layer of
// both directions, only Stream.Run runs the model.
func (model *Model) Carries() bool { return model.carries }

// Provider returns the name of the provider that runs the nodes, as `cpu`.
func (model *Model) Provider() string { return model.provider }

// ONNXRuntimeVersion returns the version of the library, as `1.31.1`.
func (model *Model) ONNXRuntimeVersion() string { return model.version }

// HasGraph returns whether the artifact has a graph; false once the model is closed.
func (model *Model) HasGraph(graph Graph) bool {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	return model.model != nil && bool(C.edgernn_has_graph(model.model, C.edgernn_graph(graph)))
}

// Inputs returns the inputs of a graph in its order, none without the graph or once the model is
// closed.
func (model *Model) Inputs(graph Graph) []Port {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return nil
	}
	ports := make([]Port, C.edgernn_input_count(model.model, C.edgernn_graph(graph)))
	for i := range ports {
		ports[i] = portOf(C.edgernn_input(model.model, C.edgernn_graph(graph), C.size_t(i)))
	}
	return ports
}

// Outputs returns the outputs of a graph in its order, as Inputs does.
func (model *Model) Outputs(graph Graph) []Port {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return nil
	}
	ports := make([]Port, C.edgernn_output_count(model.model, C.edgernn_graph(graph)))
	for i := range ports {
		ports[i] = portOf(C.edgernn_output(model.model, C.edgernn_graph(graph), C.size_t(i)))
	}
	return ports
}

func portOf(given *C.edgernn_port) Port {
	port := Port{
		Name:      C.GoString(given.name),
		DType:     DType(given.dtype),
		Shape:     make([]int, given.rank),
		Axes:      make([]string, given.rank),
		Limit:     int64(given.limit),
		Delay:     int(given.delay),
		Tail:      int(given.tail),
		IsState:   bool(given.is_state),
		IsLengths: bool(given.is_lengths),
	}
	for i := range port.Shape {
		port.Shape[i] = int(unsafe.Slice(given.shape, given.rank)[i])
		port.Axes[i] = C.GoString(unsafe.Slice(given.axes, given.rank)[i])
	}
	return port
}

// Metadata returns the entry `edgernn.KEY` of the graphs' metadata, as `sample_rate`.
func (model *Model) Metadata(key string) (string, bool) {
	if strings.IndexByte(key, 0) >= 0 {
		return "", false
	}
	name := C.CString(key)
	defer C.free(unsafe.Pointer(name))
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return "", false
	}
	value := C.edgernn_metadata(model.model, name)
	return C.GoString(value), value != nil
}

// Check runs a golden run, a folder with an array for each port, whole, by chunks and by steps, and
// returns the largest differences from it. An empty folder is the artifact's own.
func (model *Model) Check(golden string) (Differences, error) {
	name, err := cstring("The folder", golden)
	if err != nil {
		return Differences{}, err
	}
	defer C.free(unsafe.Pointer(name))
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return Differences{}, ErrClosed
	}
	var found C.edgernn_differences
	var e C.edgernn_error
	if err := failure(C.edgernn_check(model.model, name, &found, &e), &e); err != nil {
		return Differences{}, err
	}
	return Differences{
		Whole:        float64(found.whole),
		Chunks:       float64(found.chunks),
		Steps:        float64(found.steps),
		WithoutState: float64(found.without_state),
	}, nil
}

// IsClosed returns whether an error is that of a call after Close.
func IsClosed(err error) bool { return errors.Is(err, ErrClosed) }
