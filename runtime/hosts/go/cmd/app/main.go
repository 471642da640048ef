// app runs model.edgernn, which lies beside it.
//
//	app        replay the golden run, and measure a step
//	app step   answer each line of standard input, which has the numbers of a step
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"

	"edgernn"
)

// The largest difference from the golden run that passes.
const tolerance = 1e-5 // edgernn embed: tolerance

func main() {
	program, err := os.Executable()
	exitOn(err)
	folder := filepath.Dir(program)
	model, err := edgernn.Open(filepath.Join(folder, "model.edgernn"),
		edgernn.Options{Library: library(folder)})
	exitOn(err)
	defer model.Close()
	switch {
	case len(os.Args) == 1:
		if !check(model) {
			os.Exit(1)
		}
	case len(os.Args) == 2 && os.Args[1] == "step":
		exitOn(answer(model))
	default:
		fmt.Fprintln(os.Stderr, "usage: app [step]")
		os.Exit(2)
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "app: %v\n", err)
		os.Exit(2)
	}
}

// library returns the path of ONNX Runtime in the program's folder, or empty where
// $ONNXRUNTIME_LIBRARY or the system has it.
func library(folder string) string {
	names := map[string]string{"windows": "onnxruntime.dll", "darwin": "libonnxruntime.dylib"}
	name := names[runtime.GOOS]
	if name == "" {
		name = "libonnxruntime.so"
	}
	path := filepath.Join(folder, "lib", name)
	if _, err := os.Stat(path); err != nil || os.Getenv("ONNXRUNTIME_LIBRARY") != "" {
		return ""
	}
	return path
}

// check replays the golden run and returns whether the model gives it.
func check(model *edgernn.Model) bool {
	found, err := model.Check("")
	exitOn(err)
	agrees, carried := true, found.Steps
	if math.IsNaN(carried) {
		carried = found.Chunks // without a step graph
	}
	for _, way := range []struct {
		name              string
		difference, limit float64
		mustAgree         bool
	}{
		{"whole", found.Whole, tolerance, true},
		{"by chunks", found.Chunks, tolerance, true},
		{"by steps", found.Steps, tolerance, true},
		{"without state", found.WithoutState, carried, false},
	} {
		if math.IsNaN(way.difference) {
			continue // the model cannot be run in this way
		}
		verdict := ""
		if (way.difference <= way.limit) != way.mustAgree {
			agrees, verdict = false, ", WRONG"
		}
		fmt.Printf("%-14s max difference %.1e%s\n", way.name, way.difference, verdict)
	}
	verdict := map[bool]string{true: "reproduces", false: "DIFFERS from"}[agrees]
	fmt.Printf("The model %s its golden run; the tolerance is %g.\n", verdict, tolerance)
	if model.HasGraph(edgernn.Step) && readsInputs(model) {
		fmt.Printf("%-14s %.1f µs per step\n", "time", microseconds(model))
	}
	return agrees
}

// readsInputs returns whether zeros and answer know the types of all inputs of a step.
func readsInputs(model *edgernn.Model) bool {
	for _, port := range model.Inputs(edgernn.Step) {
		switch port.DType {
		case edgernn.Float32Type, edgernn.Float64Type, edgernn.Int32Type, edgernn.Int64Type, edgernn.BoolType:
		default:
			if !port.IsState && !port.IsLengths {
				return false
			}
		}
	}
	return true
}

// microseconds returns how long a step takes: the median of blocks of steps of zeros.
func microseconds(model *edgernn.Model) float64 {
	const blocks = 101
	step := open(model)
	defer step.stream.Close()
	times := make([]float64, blocks)
	for block := range times {
		exitOn(step.stream.Reset())
		start := time.Now()
		for i := int64(0); i < step.most; i++ {
			_, err := step.stream.Step(step.inputs...)
			exitOn(err)
		}
		times[block] = float64(time.Since(start).Nanoseconds()) / 1e3 / float64(step.most)
	}
	sort.Float64s(times)
	return times[blocks/2]
}

// step is a stream, the inputs of a step, which answer overwrites, the number of elements of each
// output, and the most steps of a sequence, at most 20.
type step struct {
	stream *edgernn.Stream
	inputs []edgernn.Tensor
	counts []int
	most   int64
}

func open(model *edgernn.Model) step {
	opened := step{most: 20}
	batch := 1
	for _, port := range model.Inputs(edgernn.Step) {
		if port.IsState && port.Limit > 0 && port.Limit < opened.most {
			opened.most = port.Limit // a table of positions ends there
		}
		if !port.IsState && !port.IsLengths {
			for axis, size := range port.Shape {
				if size >= 0 && port.Axes[axis] == "batch" {
					batch = size
				}
			}
			opened.inputs = append(opened.inputs, zeros(port, elements(port.Shape)))
		}
	}
	for _, port := range model.Outputs(edgernn.Step) {
		if !port.IsState {
			opened.counts = append(opened.counts, elements(port.Shape))
		}
	}
	var err error
	opened.stream, err = model.NewStream(batch)
	exitOn(err)
	return opened
}

// elements returns the number of elements of a shape, whose sizes that vary it makes 1.
func elements(shape []int) int {
	count := 1
	for axis, size := range shape {
		if size < 0 {
			shape[axis] = 1
		}
		count *= shape[axis]
	}
	return count
}

func zeros(port edgernn.Port, count int) edgernn.Tensor {
	switch port.DType {
	case edgernn.Float32Type:
		return edgernn.NewTensor(port.Name, make([]float32, count), port.Shape...)
	case edgernn.Float64Type:
		return edgernn.NewTensor(port.Name, make([]float64, count), port.Shape...)
	case edgernn.Int32Type:
		return edgernn.NewTensor(port.Name, make([]int32, count), port.Shape...)
	case edgernn.Int64Type:
		return edgernn.NewTensor(port.Name, make([]int64, count), port.Shape...)
	case edgernn.BoolType:
		return edgernn.NewTensor(port.Name, make([]bool, count), port.Shape...)
	}
	exitOn(fmt.Errorf("`%s` has %s, which this program does not read", port.Name, port.DType))
	return edgernn.Tensor{}
}

// answer reads the numbers of a step from each line, separated by commas or white space, and
// answers with those of the outputs. An empty line starts a new sequence.
func answer(model *edgernn.Model) error {
	if !model.HasGraph(edgernn.Step) {
		return fmt.Errorf("the model has no step. Run whole sequences with Stream.Run")
	}
	step := open(model)
	defer step.stream.Close()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for line := 1; lines.Scan(); line++ {
		words := strings.FieldsFunc(lines.Text(), func(letter rune) bool {
			return letter == ',' || unicode.IsSpace(letter)
		})
		var answers []string
		if len(words) == 0 {
			exitOn(step.stream.Reset())
		} else {
			if err := parse(words, step.inputs); err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			outputs, err := step.stream.Step(step.inputs...)
			if err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			for i, output := range outputs {
				numbers := texts(output)
				answers = append(answers, make([]string, step.counts[i]-len(numbers))...)
				answers = append(answers, numbers...)
			}
		}
		fmt.Println(strings.Join(answers, ","))
	}
	return lines.Err()
}

// parse writes the numbers of a line into the inputs.
func parse(words []string, inputs []edgernn.Tensor) error {
	total, at := 0, 0
	for _, input := range inputs {
		total += elements(input.Shape)
	}
	if total != len(words) {
		return fmt.Errorf("%d numbers came, but a step takes %d", len(words), total)
	}
	for _, input := range inputs {
		for i := 0; i < elements(input.Shape); i, at = i+1, at+1 {
			var err error
			switch input.DType() {
			case edgernn.Float32Type:
				var number float64
				number, err = strconv.ParseFloat(words[at], 32)
				values[float32](input)[i] = float32(number)
			case edgernn.Float64Type:
				values[float64](input)[i], err = strconv.ParseFloat(words[at], 64)
			case edgernn.Int32Type:
				var number int64
				number, err = strconv.ParseInt(words[at], 10, 32)
				values[int32](input)[i] = int32(number)
			case edgernn.Int64Type:
				values[int64](input)[i], err = strconv.ParseInt(words[at], 10, 64)
			case edgernn.BoolType:
				values[bool](input)[i], err = strconv.ParseBool(words[at])
			}
			if err != nil {
				return fmt.Errorf("`%s` is not %s, as `%s` takes", words[at], input.DType(), input.Name)
			}
		}
	}
	return nil
}

func values[T edgernn.Element](tensor edgernn.Tensor) []T {
	data, err := edgernn.Data[T](tensor)
	exitOn(err)
	return data
}

// texts returns the numbers of an output, without those that are not defined yet.
func texts(output edgernn.Tensor) []string {
	switch output.DType() {
	case edgernn.Float32Type:
		return printed(values[float32](output), "%.9g")
	case edgernn.Float64Type:
		return printed(values[float64](output), "%.17g")
	case edgernn.Int32Type:
		return printed(values[int32](output), "%d")
	case edgernn.Int64Type:
		return printed(values[int64](output), "%d")
	case edgernn.BoolType:
		var numbers []int
		for _, value := range values[bool](output) {
			numbers = append(numbers, map[bool]int{true: 1}[value])
		}
		return printed(numbers, "%d")
	}
	exitOn(fmt.Errorf("`%s` has %s, which this program does not print", output.Name, output.DType()))
	return nil
}

func printed[T any](numbers []T, format string) []string {
	texts := make([]string, len(numbers))
	for i, number := range numbers {
		texts[i] = fmt.Sprintf(format, number)
	}
	return texts
}
