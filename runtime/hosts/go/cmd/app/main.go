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
	"strconv"
	"strings"
	"time"

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
	agrees := true
	for _, way := range []struct {
		name       string
		difference float64
		mustAgree  bool
	}{
		{"whole", found.Whole, true},
		{"by chunks", found.Chunks, true},
		{"by steps", found.Steps, true},
		{"without state", found.WithoutState, false},
	} {
		if math.IsNaN(way.difference) {
			continue // the model cannot be run in this way
		}
		verdict := ""
		if (way.difference <= tolerance) != way.mustAgree {
			agrees, verdict = false, ", WRONG"
		}
		fmt.Printf("%-14s max difference %.1e%s\n", way.name, way.difference, verdict)
	}
	verdict := map[bool]string{true: "reproduces", false: "DIFFERS from"}[agrees]
	fmt.Printf("The model %s its golden run; the tolerance is %g.\n", verdict, tolerance)
	if model.HasGraph(edgernn.Step) {
		fmt.Printf("%-14s %.1f µs per step\n", "time", microseconds(model))
	}
	return agrees
}

// microseconds returns how long a step takes.
func microseconds(model *edgernn.Model) float64 {
	const steps = 2000
	stream, inputs := open(model)
	defer stream.Close()
	var start time.Time
	for i := 0; i < 2*steps; i++ {
		if i == steps {
			start = time.Now()
		}
		if i%100 == 0 { // a table of positions may end
			exitOn(stream.Reset())
		}
		_, err := stream.Step(inputs...)
		exitOn(err)
	}
	return float64(time.Since(start).Nanoseconds()) / 1e3 / steps
}

// open returns a stream and the inputs of a step: zeros, which answer overwrites.
func open(model *edgernn.Model) (*edgernn.Stream, []edgernn.Tensor) {
	batch := 1
	var inputs []edgernn.Tensor
	for _, port := range model.Inputs(edgernn.Step) {
		if port.IsState || port.IsLengths {
			continue
		}
		count := 1
		for axis, size := range port.Shape {
			if size < 0 {
				port.Shape[axis] = 1
			} else if port.Axes[axis] == "batch" {
				batch = size
			}
			count *= port.Shape[axis]
		}
		inputs = append(inputs, zeros(port, count))
	}
	stream, err := model.NewStream(batch)
	exitOn(err)
	return stream, inputs
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
	exitOn(fmt.Errorf("`%s` has elements of %s, which this program does not read", port.Name, port.DType))
	panic("unreachable")
}

// answer reads the numbers of a step from each line, separated by commas or white space, and
// answers with those of the outputs. An empty line starts a new sequence.
func answer(model *edgernn.Model) error {
	if !model.HasGraph(edgernn.Step) {
		return fmt.Errorf("the model has no step. Run whole sequences with Stream.Run")
	}
	stream, inputs := open(model)
	defer stream.Close()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for line := 1; lines.Scan(); line++ {
		words := strings.FieldsFunc(lines.Text(), func(r rune) bool { return strings.ContainsRune(", \t\r", r) })
		var answers []string
		if len(words) == 0 {
			exitOn(stream.Reset())
		} else {
			if err := parse(words, inputs); err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			outputs, err := stream.Step(inputs...)
			if err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			for _, output := range outputs {
				answers = append(answers, texts(output)...)
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
		total += elements(input)
	}
	if total != len(words) {
		return fmt.Errorf("%d numbers came, but a step takes %d", len(words), total)
	}
	for _, input := range inputs {
		for i := 0; i < elements(input); i, at = i+1, at+1 {
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

func elements(tensor edgernn.Tensor) int {
	count := 1
	for _, size := range tensor.Shape {
		count *= size
	}
	return count
}

// texts returns the numbers of an output, empty where it is not defined yet.
func texts(output edgernn.Tensor) []string {
	if !output.Defined() {
		return make([]string, elements(output))
	}
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
	exitOn(fmt.Errorf("`%s` has elements of %s, which this program does not print", output.Name, output.DType()))
	return nil
}

func printed[T any](numbers []T, format string) []string {
	texts := make([]string, len(numbers))
	for i, number := range numbers {
		texts[i] = fmt.Sprintf(format, number)
	}
	return texts
}
