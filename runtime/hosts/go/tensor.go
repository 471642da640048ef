package edgernn

import (
	"fmt"
	"unsafe"
)

// DType is the type of the elements of a Tensor, by ONNX's numbers.
type DType int32

const (
	Float32Type DType = 1
	Uint8Type   DType = 2
	Int8Type    DType = 3
	Uint16Type  DType = 4
	Int16Type   DType = 5
	Int32Type   DType = 6
	Int64Type   DType = 7
	BoolType    DType = 9
	Float16Type DType = 10
	Float64Type DType = 11
	Uint32Type  DType = 12
	Uint64Type  DType = 13
)

// Float16 holds the bits of an IEEE 754 number of half precision, for which Go has no type.
type Float16 uint16

// Element is a type of the elements of a Tensor.
type Element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool | Float16
}

var dtypes = map[DType]struct {
	name string
	size int
}{
	Float32Type: {"float32", 4}, Uint8Type: {"uint8", 1}, Int8Type: {"int8", 1},
	Uint16Type: {"uint16", 2}, Int16Type: {"int16", 2}, Int32Type: {"int32", 4},
	Int64Type: {"int64", 8}, BoolType: {"bool", 1}, Float16Type: {"float16", 2},
	Float64Type: {"float64", 8}, Uint32Type: {"uint32", 4}, Uint64Type: {"uint64", 8},
}

func (dtype DType) String() string {
	if known, ok := dtypes[dtype]; ok {
		return known.name
	}
	return fmt.Sprintf("dtype %d", int32(dtype))
}

func dtypeOf[T Element]() DType {
	switch any((*T)(nil)).(type) {
	case *float32:
		return Float32Type
	case *float64:
		return Float64Type
	case *int8:
		return Int8Type
	case *int16:
		return Int16Type
	case *int32:
		return Int32Type
	case *int64:
		return Int64Type
	case *uint8:
		return Uint8Type
	case *uint16:
		return Uint16Type
	case *uint32:
		return Uint32Type
	case *uint64:
		return Uint64Type
	case *bool:
		return BoolType
	}
	return Float16Type
}

// Tensor is an array in row-major order: an input, an output or a state.
type Tensor struct {
	// Name is the port's; of an input it may be empty where the model has one data input.
	Name  string
	Shape []int
	dtype DType
	data  []byte // nil for an output that is not defined yet
}

// NewTensor returns a tensor that refers to data: what is written there later is what a later call
// reads. No shape is a tensor without axes.
func NewTensor[T Element](name string, data []T, shape ...int) Tensor {
	var element T
	bytes := []byte{}
	if len(data) > 0 {
		bytes = unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(element)))
	}
	return Tensor{name, shape, dtypeOf[T](), bytes}
}

// DType returns the type of the elements.
func (tensor Tensor) DType() DType { return tensor.dtype }

// Defined returns whether an output has a value: at the start of a sequence, one without an axis of
// steps may have none yet.
func (tensor Tensor) Defined() bool { return tensor.data != nil }

// Clone returns a copy with data of its own, which later calls of a stream do not touch.
func (tensor Tensor) Clone() Tensor {
	tensor.Shape = append([]int{}, tensor.Shape...)
	if tensor.data != nil {
		words := make([]uint64, len(tensor.data)/8+1) // aligned for every type
		tensor.data = append(bytesOf(words)[:0], tensor.data...)
	}
	return tensor
}

// Data returns the elements of a tensor in row-major order, nil where it is not defined yet. Those
// of an output are valid until the next call of its stream.
func Data[T Element](tensor Tensor) ([]T, error) {
	var element T
	if wanted := dtypeOf[T](); wanted != tensor.dtype {
		return nil, inputError("`%s` has elements of %s, not %s.", tensor.Name, tensor.dtype, wanted)
	}
	switch {
	case tensor.data == nil:
		return nil, nil
	case len(tensor.data) == 0:
		return []T{}, nil
	}
	count := len(tensor.data) / int(unsafe.Sizeof(element))
	return unsafe.Slice((*T)(unsafe.Pointer(&tensor.data[0])), count), nil
}

// bytesOf returns the memory of words as bytes.
func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
}

// bytes returns the number of bytes that the shape and type ask for, -1 where there is none.
func (tensor *Tensor) bytes() int {
	size := dtypes[tensor.dtype].size
	for _, length := range tensor.Shape {
		if length < 0 || length > 0 && size > int(^uint(0)>>1)/length {
			return -1
		}
		size *= length
	}
	return size
}

// check refuses a tensor whose data are not what its shape says.
func (tensor *Tensor) check() error {
	if _, ok := dtypes[tensor.dtype]; !ok {
		return inputError("Input `%s` has no data. Make it with NewTensor.", tensor.Name)
	}
	for i := 0; i < len(tensor.Name); i++ {
		if tensor.Name[i] == 0 {
			return inputError("Input %q has a NUL byte in its name. Give the name of a port.", tensor.Name)
		}
	}
	if tensor.data == nil {
		return inputError("Input `%s` is an output that is not defined yet. Give one with data.",
			tensor.Name)
	}
	if tensor.bytes() != len(tensor.data) {
		return inputError("Input `%s` has shape %v, but %d elements. Give as many as the shape says.",
			tensor.Name, tensor.Shape, len(tensor.data)/dtypes[tensor.dtype].size)
	}
	return nil
}
