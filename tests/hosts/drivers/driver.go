// driver runs commands from standard input over package edgernn, one a line.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"edgernn"
)

var (
	model  *edgernn.Model
	stream *edgernn.Stream
)

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		reply, err := run(words[0], words[1:])
		var failed *edgernn.Error
		switch {
		case errors.As(err, &failed):
			fmt.Printf("error %s %s\n", failed.Kind, failed.Message)
		case err != nil:
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		default:
			fmt.Println(strings.TrimSuffix("ok "+reply, " "))
		}
	}
}

func run(command string, words []string) (string, error) {
	rest := strings.Join(words, " ")
	switch command {
	case "open":
		return "", open(edgernn.Open(words[0], edgernn.Options{Provider: strings.Join(words[1:], " ")}))
	case "open_memory":
		sequence, _ := os.ReadFile(filepath.Join(rest, "sequence.onnx"))
		step, _ := os.ReadFile(filepath.Join(rest, "step.onnx"))
		return "", open(edgernn.OpenMemory(sequence, step, edgernn.Options{}))
	case "facts":
		return fmt.Sprintf("hop=%d carries=%t vocabulary=%d provider=%s", model.Hop(), model.Carries(),
			model.VocabularySize(), model.Provider()), nil
	case "metadata":
		value, _ := model.Metadata(rest)
		return value, nil
	case "encode":
		return encode(rest)
	case "decode":
		return decode(words)
	case "check":
		found, err := model.Check(rest)
		return strings.ToLower(fmt.Sprintf("%.9g %.9g %.9g %.9g", found.Whole, found.Chunks,
			found.Steps, found.WithoutState)), err
	case "close_model":
		return "", model.Close()
	case "close":
		if stream != nil {
			stream.Close()
		}
		return "", model.Close()
	case "threads":
		return runThreads(words)
	case "abandon":
		return "", abandon(words)
	case "allocations":
		return countAllocations(words)
	case "stream":
		batch, err := strconv.Atoi(rest)
		if err != nil {
			return "", err
		}
		opened, err := model.NewStream(batch)
		if err == nil {
			stream = opened
		}
		return "", err
	}
	return runStream(command, words)
}

func runStream(command string, words []string) (string, error) {
	calls := map[string]func(...edgernn.Tensor) ([]edgernn.Tensor, error){
		"step": stream.Step, "feed": stream.Feed, "finish": stream.Finish, "run": stream.Run,
	}
	if call := calls[command]; call != nil {
		inputs, err := parse(words)
		if err != nil {
			return "", err
		}
		outputs, err := call(inputs...)
		texts := make([]string, len(outputs))
		for i, output := range outputs {
			texts[i] = text(output)
		}
		return strings.Join(texts, " "), err
	}
	switch command {
	case "misread":
		_, err := edgernn.Data[int64](edgernn.NewTensor("y", []float32{1}, 1))
		return "", err
	case "reset":
		return "", stream.Reset()
	case "counts":
		return fmt.Sprint(stream.Steps(), stream.Rest()), nil
	case "snapshot":
		snapshot, err := stream.Snapshot()
		return hex.EncodeToString(snapshot), err
	case "restore":
		snapshot, err := hex.DecodeString(strings.Join(words, ""))
		if err != nil {
			return "", err
		}
		return "", stream.Restore(snapshot)
	case "state":
		value, err := stream.State(strings.Join(words, " "))
		if err != nil {
			return "", err
		}
		return text(value), nil
	case "set_state":
		inputs, err := parse(words)
		if err != nil {
			return "", err
		}
		return "", stream.SetState(inputs[0])
	}
	return "", fmt.Errorf("there is no command `%s`", command)
}

// runThreads steps a stream in each goroutine while garbage is collected, and returns their last
// outputs. Step i of goroutine k has inputs of k + i % 7.
func runThreads(words []string) (string, error) {
	threads, _ := strconv.Atoi(words[0])
	steps, _ := strconv.Atoi(words[1])
	size, _ := strconv.Atoi(words[2])
	texts := make([]string, threads)
	errs := make([]error, threads)
	var group sync.WaitGroup
	for k := range texts {
		group.Add(1)
		go func(k int) {
			defer group.Done()
			stream, err := model.NewStream(1)
			if err != nil {
				errs[k] = err
				return
			}
			x := make([]float32, size)
			input := edgernn.NewTensor("", x, 1, size)
			for i := 0; i < steps; i++ {
				for j := range x {
					x[j] = float32(k + i%7)
				}
				outputs, err := stream.Step(input)
				if err != nil {
					errs[k] = err
					return
				}
				if i%100 == 0 {
					runtime.GC()
				}
				texts[k] = text(outputs[0])
			}
			errs[k] = stream.Close()
		}(k)
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return "", err
		}
	}
	return strings.Join(texts, " "), nil
}

// abandon opens streams and models that nobody closes.
func abandon(words []string) error {
	count, _ := strconv.Atoi(words[0])
	batch, _ := strconv.Atoi(words[1])
	for i := 0; i < count; i++ {
		if _, err := model.NewStream(batch); err != nil {
			return err
		}
		runtime.GC()
	}
	return nil
}

// countAllocations returns the objects that each step allocates.
func countAllocations(words []string) (string, error) {
	size, _ := strconv.Atoi(words[0])
	input := edgernn.NewTensor("", make([]float32, size), 1, size)
	count := testing.AllocsPerRun(1000, func() {
		if _, err := stream.Step(input); err != nil {
			panic(err)
		}
	})
	return fmt.Sprint(count), nil
}

func open(opened *edgernn.Model, err error) error {
	if err == nil {
		model = opened
	}
	return err
}

func encode(given string) (string, error) {
	text, err := hex.DecodeString(given)
	if err != nil {
		return "", err
	}
	ids, err := model.Encode(string(text))
	return strings.Trim(fmt.Sprint(ids), "[]"), err
}

func decode(words []string) (string, error) {
	var ids []int64
	for _, word := range words {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return "", err
		}
		ids = append(ids, id)
	}
	text, err := model.Decode(ids)
	return hex.EncodeToString([]byte(text)), err
}

func parse(words []string) ([]edgernn.Tensor, error) {
	var tensors []edgernn.Tensor
	for _, word := range strings.Fields(strings.Join(words, " ")) {
		parts := strings.Split(word, ":")
		content, err := hex.DecodeString(parts[3])
		if err != nil {
			return nil, err
		}
		var shape []int
		for _, size := range strings.FieldsFunc(parts[2], func(r rune) bool { return r == ',' }) {
			length, err := strconv.Atoi(size)
			if err != nil {
				return nil, err
			}
			shape = append(shape, length)
		}
		tensors = append(tensors, makers[parts[1]](parts[0], content, shape))
	}
	return tensors, nil
}

var makers = map[string]func(string, []byte, []int) edgernn.Tensor{
	"float32": tensor[float32], "float64": tensor[float64], "float16": tensor[edgernn.Float16],
	"int8": tensor[int8], "int16": tensor[int16], "int32": tensor[int32], "int64": tensor[int64],
	"uint8": tensor[uint8], "uint16": tensor[uint16], "uint32": tensor[uint32],
	"uint64": tensor[uint64], "bool": tensor[bool],
}

var printers = map[string]func(edgernn.Tensor) string{
	"float32": elements[float32], "float64": elements[float64], "float16": elements[edgernn.Float16],
	"int8": elements[int8], "int16": elements[int16], "int32": elements[int32],
	"int64": elements[int64], "uint8": elements[uint8], "uint16": elements[uint16],
	"uint32": elements[uint32], "uint64": elements[uint64], "bool": elements[bool],
}

func tensor[T edgernn.Element](name string, content []byte, shape []int) edgernn.Tensor {
	var element T
	data := make([]T, len(content)/binary.Size(element))
	if err := binary.Read(bytes.NewReader(content), binary.LittleEndian, data); err != nil {
		panic(err)
	}
	return edgernn.NewTensor(name, data, shape...)
}

func elements[T edgernn.Element](output edgernn.Tensor) string {
	data, err := edgernn.Data[T](output)
	if err != nil {
		panic(err)
	}
	var content bytes.Buffer
	if err := binary.Write(&content, binary.LittleEndian, data); err != nil {
		panic(err)
	}
	return hex.EncodeToString(content.Bytes())
}

func text(output edgernn.Tensor) string {
	sizes := make([]string, len(output.Shape))
	for i, size := range output.Shape {
		sizes[i] = strconv.Itoa(size)
	}
	content := "-"
	if output.Defined() {
		content = printers[output.DType().String()](output)
	}
	return fmt.Sprintf("%s:%s:%s:%s", output.Name, output.DType(), strings.Join(sizes, ","), content)
}
