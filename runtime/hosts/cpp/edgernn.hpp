/* Run an artifact of edgernn in C++17: a recurrent model with its state, on ONNX Runtime.
 *
 *     #include "edgernn.hpp"
 *
 *     edgernn::Model model("model.edgernn");
 *     edgernn::Stream stream = model.stream();
 *     std::vector<float> x(10);
 *     edgernn::Outputs outputs = stream.step(x);           // or stream.step({{"x", x, {1, 10}}})
 *     edgernn::span<const float> y = outputs[0].data<float>();
 *
 * This header is thin over edgernn.h, which says what each call does; compile edgernn.c beside it.
 *
 * Errors. A call that fails throws edgernn::Error and changes nothing.
 *
 * Lifetime. Outputs, and the spans that they return, are views of memory of the stream: they are
 * valid until the next call of that stream, and as long as it exists. Copy what has to live longer.
 * A call on a temporary stream does not compile, since its outputs would be gone at once. A stream
 * keeps what it needs of its model, which may be destroyed before it.
 *
 * Threads. Any number of threads may use a model. A stream belongs to one thread at a time. */
#ifndef EDGERNN_HPP
#define EDGERNN_HPP

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if __has_include(<version>)
#include <version>
#endif
#ifdef __cpp_lib_span
#include <span>
#define EDGERNN_CPP cpp20 // files with and without std::span may be linked into one program
#else
#define EDGERNN_CPP cpp17
#endif

#include "edgernn.h"

namespace edgernn {
inline namespace EDGERNN_CPP {

#ifdef __cpp_lib_span
using std::span;
#else
/* A view of elements side by side, as std::span is in C++20. */
template <class T> class span {
  public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class Range, class = std::enable_if_t<std::is_convertible_v<
                               decltype(std::data(std::declval<Range &>())), T *>>>
    constexpr span(Range &&range) noexcept : data_(std::data(range)), size_(std::size(range)) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t place) const noexcept { return data_[place]; }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};
#endif

/* What is wrong, by the names of edgernn's errors in Python. */
enum class ErrorKind {
    contract = EDGERNN_CONTRACT_ERROR,
    provider = EDGERNN_PROVIDER_ERROR,
    input = EDGERNN_INPUT_ERROR,
    state = EDGERNN_STATE_ERROR,
    memory = EDGERNN_MEMORY_ERROR
};

class Error : public std::runtime_error {
  public:
    Error(ErrorKind kind, const std::string &message) : std::runtime_error(message), kind_(kind) {}
    ErrorKind kind() const noexcept { return kind_; }

  private:
    ErrorKind kind_;
};

/* A number of 16 bits, IEEE 754 binary16, by its bits. */
struct Float16 {
    std::uint16_t bits = 0;

    Float16() = default;
    /* Round to the nearest number, of two as near to the even one. */
    explicit Float16(float number) noexcept {
        const float size = std::fabs(number);
        int exponent = 0;
        if (size < 65520.0f) {
            std::frexp(size, &exponent);
            if (size < 0x1p-14f) exponent = -13; /* below, the distance of numbers is the same */
            const float units = std::nearbyint(std::ldexp(size, 11 - exponent));
            bits = static_cast<std::uint16_t>((exponent + 13) * 1024 + static_cast<int>(units));
        } else {
            bits = std::isnan(number) ? 0x7E00 : 0x7C00;
        }
        if (std::signbit(number)) bits |= 0x8000;
    }
    explicit operator float() const noexcept {
        const int exponent = bits >> 10 & 31;
        const float fraction = bits & 1023;
        const float size = exponent == 31 ? (fraction > 0 ? NAN : INFINITY)
                           : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                          : std::ldexp(fraction, -24);
        return bits & 0x8000 ? -size : size;
    }
};

/* The types of elements. */
enum class Dtype : std::int32_t {
    float32 = EDGERNN_FLOAT32,
    uint8 = EDGERNN_UINT8,
    int8 = EDGERNN_INT8,
    uint16 = EDGERNN_UINT16,
    int16 = EDGERNN_INT16,
    int32 = EDGERNN_INT32,
    int64 = EDGERNN_INT64,
    boolean = EDGERNN_BOOL,
    float16 = EDGERNN_FLOAT16,
    float64 = EDGERNN_FLOAT64,
    uint32 = EDGERNN_UINT32,
    uint64 = EDGERNN_UINT64
};

/* A dtype as messages write it, `float32`. */
inline const char *to_string(Dtype dtype) noexcept {
    switch (dtype) {
    case Dtype::float32: return "float32";
    case Dtype::uint8: return "uint8";
    case Dtype::int8: return "int8";
    case Dtype::uint16: return "uint16";
    case Dtype::int16: return "int16";
    case Dtype::int32: return "int32";
    case Dtype::int64: return "int64";
    case Dtype::boolean: return "bool";
    case Dtype::float16: return "float16";
    case Dtype::float64: return "float64";
    case Dtype::uint32: return "uint32";
    case Dtype::uint64: return "uint64";
    }
    return "an unknown dtype";
}

namespace detail {

static_assert(sizeof(bool) == 1 && sizeof(Float16) == 2, "elements have ONNX Runtime's sizes");

/* The dtype of a type of C++; 0 for a type that is none. Integers go by their size, so that `long`
 * and `long long` are both int64 where both have 64 bits. */
template <class T> constexpr std::int32_t dtype_number() {
    constexpr int integers[2][4] = {
        {EDGERNN_UINT8, EDGERNN_UINT16, EDGERNN_UINT32, EDGERNN_UINT64},
        {EDGERNN_INT8, EDGERNN_INT16, EDGERNN_INT32, EDGERNN_INT64}};
    if constexpr (std::is_same_v<T, float>) return EDGERNN_FLOAT32;
    else if constexpr (std::is_same_v<T, double>) return EDGERNN_FLOAT64;
    else if constexpr (std::is_same_v<T, bool>) return EDGERNN_BOOL;
    else if constexpr (std::is_same_v<T, Float16>) return EDGERNN_FLOAT16;
    else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, char> &&
                       !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char16_t> &&
                       !std::is_same_v<T, char32_t>)
        return integers[std::is_signed_v<T>][sizeof(T) > 4 ? 3 : sizeof(T) / 2];
    else return 0;
}

/* The type of the elements of a vector, array or span. */
template <class Range>
using element = std::remove_cv_t<
    std::remove_pointer_t<decltype(std::data(std::declval<const Range &>()))>>;

/* Throw what a call of the core reported. */
inline void check(edgernn_status status, const edgernn_error &error) {
    if (status != EDGERNN_OK) throw Error(static_cast<ErrorKind>(status), error.message);
}

/* Return the handle of an object, or throw for one that was moved from. */
template <class Pointer> auto *open_handle(const Pointer &handle, const char *what) {
    if (!handle)
        throw Error(ErrorKind::input, std::string("The ") + what + " was moved to another object, "
                    "or is closed. Use that object, or open another " + what + ".");
    return handle.get();
}

/* Return a size as the number that it is. */
constexpr std::size_t count(std::int64_t size) noexcept { return static_cast<std::size_t>(size); }

struct CloseStream {
    void operator()(edgernn_stream *stream) const noexcept { edgernn_stream_close(stream); }
};

} // namespace detail

/* The graphs of an artifact: one for chunks of any length, one for single steps or hops. */
enum class Graph { sequence = EDGERNN_SEQUENCE, step = EDGERNN_STEP };

/* How a model is opened; as it is, one thread on the CPU. edgernn.h describes each field. */
struct Options {
    std::string library;
    const void *api_base = nullptr;
    std::string provider;
    std::int32_t threads = 0;
};

/* The largest differences of a model from its golden run, NaN where a way to run it does not apply.
 * `without_state` is a control that must differ: by steps, each from the initial state. */
using Differences = edgernn_differences;

/* An input or output of a graph; valid while the model or a stream of it exists. */
class Port {
  public:
    explicit Port(const edgernn_port &port) noexcept : port_(&port) {}
    std::string_view name() const noexcept { return port_->name; }
    Dtype dtype() const noexcept { return static_cast<Dtype>(port_->dtype); }
    /* The size of each axis, -1 where it varies. */
    span<const std::int64_t> shape() const noexcept { return {port_->shape, port_->rank}; }
    /* The name of an axis, `batch`, `sequence` or `hop`; empty where it has none. */
    std::string_view axis(std::size_t place) const noexcept { return port_->axes[place]; }
    /* Ids are less than it; 0 where there is no limit. */
    std::int64_t limit() const noexcept { return port_->limit; }
    /* The first steps of an output that are not defined, and the steps that come with finish(). */
    std::int64_t delay() const noexcept { return port_->delay; }
    std::int64_t tail() const noexcept { return port_->tail; }
    bool is_state() const noexcept { return port_->is_state; }
    bool is_lengths() const noexcept { return port_->is_lengths; }

  private:
    const edgernn_port *port_;
};

/* An array that a call reads: a view of the caller's memory, which has to live until it returns. */
class Input {
  public:
    static constexpr std::size_t most_axes = 16;

    /* Elements for the only data input of a model; the shape follows from the port. */
    template <class Range, class Element = detail::element<Range>,
              class = std::enable_if_t<detail::dtype_number<Element>() != 0>>
    Input(const Range &data) noexcept : Input(nullptr, std::data(data), std::size(data)) {}

    /* Elements for a data input or state by its name; the shape follows from the port. */
    template <class Range, class Element = detail::element<Range>,
              class = std::enable_if_t<detail::dtype_number<Element>() != 0>>
    Input(const char *name, const Range &data) noexcept
        : Input(name, std::data(data), std::size(data)) {}

    /* Elements in row-major order, with their shape. The name is a string that lives as long. */
    template <class Range, class Element = detail::element<Range>,
              class = std::enable_if_t<detail::dtype_number<Element>() != 0>>
    Input(const char *name, const Range &data, span<const std::int64_t> shape)
        : Input(name, std::data(data), std::size(data)) {
        set_shape(shape);
    }
    template <class Range, class Element = detail::element<Range>,
              class = std::enable_if_t<detail::dtype_number<Element>() != 0>>
    Input(const char *name, const Range &data, std::initializer_list<std::int64_t> shape)
        : Input(name, data, span<const std::int64_t>(shape.begin(), shape.size())) {}

  private:
    friend class Stream;

    template <class T>
    Input(const char *name, const T *data, std::size_t size) noexcept
        : name_(name), dtype_(detail::dtype_number<std::remove_cv_t<T>>()), data_(data),
          size_(size) {}

    /* Take a shape that the elements fill, so that the core never reads past them. */
    void set_shape(span<const std::int64_t> shape) {
        bool fits = shape.size() <= most_axes;
        std::size_t product = 1, axes = 0;
        for (const std::int64_t size : shape) {
            fits = fits && size >= 0 && (size == 0 || product <= SIZE_MAX / detail::count(size));
            if (!fits) break;
            product *= detail::count(size);
            shape_[axes++] = size;
        }
        if (!fits || product != size_)
            throw Error(ErrorKind::input, "`" + std::string(name_ ? name_ : "input") + "` came " +
                        "with " + std::to_string(size_) + " elements, which do not fill its shape. "
                        "Give the sizes of at most " + std::to_string(most_axes) + " axes, whose "
                        "product is the number of elements.");
        rank_ = axes;
        has_shape_ = true;
    }

    const char *name_;
    std::int32_t dtype_;
    const void *data_;
    std::size_t size_;
    std::size_t rank_ = 0;
    std::array<std::int64_t, most_axes> shape_; // the first `rank_` sizes
    bool has_shape_ = false;
};

/* An array that a call returned: a view that is valid until the next call of its stream. */
class Output {
  public:
    explicit Output(const edgernn_tensor &tensor) noexcept : tensor_(&tensor) {}
    std::string_view name() const noexcept { return tensor_->name; }
    Dtype dtype() const noexcept { return static_cast<Dtype>(tensor_->dtype); }
    span<const std::int64_t> shape() const noexcept { return {tensor_->shape, tensor_->rank}; }
    /* Whether it has a value yet; see Port::delay. */
    bool is_defined() const noexcept { return tensor_->data != nullptr; }
    /* The number of elements; 0 where the output is not defined yet. */
    std::size_t size() const noexcept {
        std::size_t size = is_defined();
        for (const std::int64_t axis : shape()) size *= detail::count(axis);
        return size;
    }
    /* The elements in row-major order, valid until the stream's next call; none where the output is
     * not defined yet. Throws Error (input) where T is not the type of its elements. */
    template <class T> span<const T> data() const {
        static_assert(detail::dtype_number<T>() != 0, "T is a type of elements, as float");
        if (tensor_->dtype != detail::dtype_number<T>())
            throw Error(ErrorKind::input, "`" + std::string(name()) + "` has elements of " +
                        to_string(dtype()) + ", but they were read as " +
                        to_string(static_cast<Dtype>(detail::dtype_number<T>())) +
                        ". Read them as " + to_string(dtype()) + ".");
        return {static_cast<const T *>(tensor_->data), size()};
    }
    const void *bytes() const noexcept { return tensor_->data; }

  private:
    const edgernn_tensor *tensor_;
};

/* The outputs of a call in the order of the graph; valid until the next call of the stream. */
class Outputs {
  public:
    class iterator {
      public:
        explicit iterator(const edgernn_tensor *tensor) noexcept : tensor_(tensor) {}
        Output operator*() const noexcept { return Output(*tensor_); }
        iterator &operator++() noexcept { return ++tensor_, *this; }
        bool operator!=(const iterator &other) const noexcept { return tensor_ != other.tensor_; }

      private:
        const edgernn_tensor *tensor_;
    };

    Outputs(const edgernn_tensor *tensors, std::size_t size) noexcept
        : tensors_(tensors), size_(size) {}
    std::size_t size() const noexcept { return size_; }
    iterator begin() const noexcept { return iterator(tensors_); }
    iterator end() const noexcept { return iterator(tensors_ + size_); }
    /* An output by its place. Throws Error (input) past the end. */
    Output operator[](std::size_t place) const {
        if (place >= size_)
            throw Error(ErrorKind::input, "Output " + std::to_string(place) + " was asked for, but "
                        "there are " + std::to_string(size_) + ". Count from 0.");
        return Output(tensors_[place]);
    }
    /* An output by its name. Throws Error (input) where there is none. */
    Output operator[](std::string_view name) const {
        std::string names;
        for (const Output output : *this) {
            if (output.name() == name) return output;
            names += (names.empty() ? "`" : ", `") + std::string(output.name()) + "`";
        }
        throw Error(ErrorKind::input, "There is no output `" + std::string(name) +
                    "`. Take one of " + names + ".");
    }

  private:
    const edgernn_tensor *tensors_;
    std::size_t size_;
};

/* One running state of a model; Model::stream opens it. It can be moved, not copied. */
class Stream {
  public:
    /* Run one step, or one hop where the model takes several steps at a time. An input without a
     * shape takes that of its port, for the batch of the stream.
     * Throws Error: an input is not what the model takes (input); ONNX Runtime failed
     * (provider). */
    Outputs step(const Input &input) & { return step({&input, 1}); }
    Outputs step(std::initializer_list<Input> inputs) & { return step(all(inputs)); }
    Outputs step(span<const Input> inputs) & { return call(edgernn_step, Call::step, inputs); }

    /* Run a chunk of any number of steps, exactly as the same steps one by one. In an input without
     * a shape, the number of steps follows from the number of elements. */
    Outputs feed(const Input &input) & { return feed({&input, 1}); }
    Outputs feed(std::initializer_list<Input> inputs) & { return feed(all(inputs)); }
    Outputs feed(span<const Input> inputs) & { return call(edgernn_feed, Call::chunk, inputs); }

    /* End the sequence, and return the steps of outputs that come only then. */
    Outputs finish(std::initializer_list<Input> inputs = {}) & { return finish(all(inputs)); }
    Outputs finish(span<const Input> inputs) & { return call(edgernn_finish, Call::chunk, inputs); }

    /* Run whole sequences from the initial state; the stream's own sequence is dropped. */
    Outputs run(const Input &input) & { return run({&input, 1}); }
    Outputs run(std::initializer_list<Input> inputs) & { return run(all(inputs)); }
    Outputs run(span<const Input> inputs) & { return call(edgernn_run, Call::chunk, inputs); }

    /* Return to the initial state. */
    void reset() { edgernn_reset(handle()); }
    /* The number of sequences side by side. */
    std::size_t batch() const noexcept { return batch_; }
    /* The steps since the stream was opened or reset, and those kept until they fill a hop. */
    std::uint64_t steps() const { return edgernn_steps(handle()); }
    std::size_t rest() const { return edgernn_rest(handle()); }

    /* All that the stream needs to go on from here, to be stored and restored later. */
    std::vector<std::byte> snapshot() const {
        std::vector<std::byte> bytes(edgernn_snapshot_size(handle()));
        edgernn_error error;
        detail::check(edgernn_snapshot(handle(), bytes.data(), bytes.size(), &error), error);
        return bytes;
    }
    /* Continue from a snapshot. Throws Error (state): it is damaged, or of another model. */
    void restore(span<const std::byte> snapshot) {
        edgernn_error error;
        detail::check(edgernn_restore(handle(), snapshot.data(), snapshot.size(), &error), error);
    }

    /* The value of a state by the name of its input, valid until the stream's next call.
     * Throws Error (state): there is no such state. */
    Output state(const char *name) & {
        const edgernn_tensor *value;
        edgernn_error error;
        detail::check(edgernn_state(handle(), name, &value, &error), error);
        return Output(*value);
    }
    /* Set a state: stream.set_state({"h_in", values}). Throws Error (state): it does not fit. */
    void set_state(const Input &value) {
        Shape shape;
        const edgernn_tensor tensor = tensor_of(value, Call::step, shape);
        edgernn_error error;
        detail::check(edgernn_set_state(handle(), &tensor, &error), error);
    }

  private:
    friend class Model;

    enum class Call { step, chunk };
    using Shape = std::array<std::int64_t, Input::most_axes>;
    using Function = edgernn_status(edgernn_stream *, const edgernn_tensor *, std::size_t,
                                    const edgernn_tensor **, std::size_t *, edgernn_error *);

    Stream(std::shared_ptr<edgernn_model> model, std::size_t batch)
        : model_(std::move(model)), batch_(batch) {
        edgernn_stream *stream;
        edgernn_error error;
        detail::check(edgernn_stream_open(model_.get(), batch, &stream, &error), error);
        stream_.reset(stream);
    }

    static span<const Input> all(std::initializer_list<Input> inputs) noexcept {
        return {inputs.begin(), inputs.size()};
    }

    edgernn_stream *handle() const { return detail::open_handle(stream_, "stream"); }

    Outputs call(Function *function, Call kind, span<const Input> inputs) {
        constexpr std::size_t few = 4; // so many inputs take no memory from the heap
        if (inputs.size() <= few) {
            std::array<Shape, few> shapes;
            std::array<edgernn_tensor, few> tensors;
            return call(function, kind, inputs, shapes.data(), tensors.data());
        }
        std::vector<Shape> shapes(inputs.size());
        std::vector<edgernn_tensor> tensors(inputs.size());
        return call(function, kind, inputs, shapes.data(), tensors.data());
    }

    Outputs call(Function *function, Call kind, span<const Input> inputs, Shape *shapes,
                 edgernn_tensor *tensors) {
        edgernn_stream *stream = handle();
        for (std::size_t i = 0; i < inputs.size(); i++)
            tensors[i] = tensor_of(inputs[i], kind, shapes[i]);
        const edgernn_tensor *outputs;
        std::size_t count;
        edgernn_error error;
        detail::check(function(stream, tensors, inputs.size(), &outputs, &count, &error), error);
        return Outputs(outputs, count);
    }

    edgernn_tensor tensor_of(const Input &input, Call kind, Shape &shape) const {
        if (input.has_shape_)
            return {input.name_, input.dtype_, input.rank_, input.shape_.data(), input.data_};
        return {input.name_, input.dtype_, infer(input, kind, shape), shape.data(), input.data_};
    }

    /* Write the shape of an input from that of its port and return the number of axes. One axis may
     * vary besides the batch; what does not fit is one axis of all elements, which the core
     * refuses. */
    std::size_t infer(const Input &input, Call kind, Shape &shape) const {
        const bool in_steps = kind == Call::step;
        edgernn_graph graph = in_steps ? EDGERNN_STEP : EDGERNN_SEQUENCE;
        const bool other = !edgernn_has_graph(model_.get(), graph);
        if (other) graph = in_steps ? EDGERNN_SEQUENCE : EDGERNN_STEP;
        const edgernn_port *port = find(graph, input.name_);
        std::size_t rank = 0, known = 1, varying = Input::most_axes;
        if (port && other && !in_steps && !port->is_state && edgernn_hop(model_.get()) == 1)
            varying = rank++; // the steps, before the axes of one
        for (std::size_t axis = 0; port && axis < port->rank && rank < shape.size(); axis++) {
            const std::string_view name = port->axes[axis];
            if (in_steps && other && name == "sequence") continue;
            const bool steps = !in_steps && (name == "sequence" || name == "hop");
            std::int64_t &size = shape[rank++];
            size = name == "batch" ? static_cast<std::int64_t>(batch_) : port->shape[axis];
            if (size < 0 || steps) varying = rank - 1;
            else known *= detail::count(size);
        }
        const bool fits = port && known && input.size_ % known == 0;
        if (fits && varying < rank) {
            shape[varying] = static_cast<std::int64_t>(input.size_ / known);
        } else if (!fits || input.size_ != known) {
            shape[0] = static_cast<std::int64_t>(input.size_);
            rank = 1;
        }
        return rank;
    }

    /* Return the port of an input or state by its name; without one, that of the data input. */
    const edgernn_port *find(edgernn_graph graph, const char *name) const {
        const std::size_t count = edgernn_input_count(model_.get(), graph);
        for (std::size_t place = 0; place < count; place++) {
            const edgernn_port *port = edgernn_input(model_.get(), graph, place);
            if (name ? std::string_view(port->name) == name : !port->is_state && !port->is_lengths)
                return port;
        }
        return nullptr;
    }

    std::shared_ptr<edgernn_model> model_; // its ports give the shapes of inputs
    std::unique_ptr<edgernn_stream, detail::CloseStream> stream_;
    std::size_t batch_;
};

/* An artifact that is open; it never changes. It can be moved, not copied. */
class Model {
  public:
    /* Open an artifact's folder, or one of its graphs, an .onnx file; the path is in UTF-8.
     * Throws Error: it is no artifact (contract), or ONNX Runtime does not run it (provider). */
    explicit Model(const std::string &path, const Options &options = {}) {
        const edgernn_options given = core_options(options);
        edgernn_model *model;
        edgernn_error error;
        detail::check(edgernn_open(path.c_str(), &given, &model, &error), error);
        model_.reset(model, edgernn_close);
    }

    /* Open graphs that are in memory; either may be empty. The bytes may be freed afterwards. */
    static Model from_memory(span<const std::byte> sequence, span<const std::byte> step,
                             const Options &options = {}) {
        const edgernn_options given = core_options(options);
        edgernn_model *model;
        edgernn_error error;
        detail::check(edgernn_open_memory(sequence.data(), sequence.size(), step.data(),
                                          step.size(), &given, &model, &error), error);
        return Model(model);
    }

    Model(Model &&) noexcept = default;
    Model &operator=(Model &&) noexcept = default;
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    /* Open a stream, one running state for `batch` sequences side by side. */
    Stream stream(std::size_t batch = 1) const {
        handle();
        return Stream(model_, batch);
    }

    bool has(Graph graph) const { return edgernn_has_graph(handle(), core_graph(graph)); }
    /* The inputs and outputs of a graph in its order, states included; none without the graph. */
    std::vector<Port> inputs(Graph graph) const {
        std::vector<Port> ports;
        for (std::size_t i = 0; i < edgernn_input_count(handle(), core_graph(graph)); i++)
            ports.emplace_back(*edgernn_input(handle(), core_graph(graph), i));
        return ports;
    }
    std::vector<Port> outputs(Graph graph) const {
        std::vector<Port> ports;
        for (std::size_t i = 0; i < edgernn_output_count(handle(), core_graph(graph)); i++)
            ports.emplace_back(*edgernn_output(handle(), core_graph(graph), i));
        return ports;
    }
    /* The entry `edgernn.KEY` of the metadata, as `sample_rate`; valid while the model exists. */
    std::optional<std::string_view> metadata(const char *key) const {
        return text(edgernn_metadata(handle(), key));
    }
    /* The steps of the input that one call of Stream::step takes. */
    std::size_t hop() const { return edgernn_hop(handle()); }
    /* Whether a state goes from chunk to chunk; otherwise only Stream::run runs the model. */
    bool carries() const { return edgernn_carries(handle()); }
    std::string_view provider() const { return edgernn_provider(handle()); }
    std::string_view onnxruntime_version() const { return edgernn_onnxruntime_version(handle()); }

    /* The number of symbols; 0 without a vocabulary. */
    std::size_t vocabulary_size() const { return edgernn_vocabulary_size(handle()); }
    /* The symbol of an id; none for an id that is not in the vocabulary. */
    std::optional<std::string_view> symbol(std::int64_t id) const {
        return text(edgernn_symbol(handle(), id));
    }
    /* The ids of a text in UTF-8. Throws Error (input): something in it has no id. */
    std::vector<std::int64_t> encode(std::string_view text) const {
        std::vector<std::int64_t> ids(text.size());
        std::size_t count;
        edgernn_error error;
        detail::check(edgernn_encode(handle(), text.data(), text.size(), ids.data(), ids.size(),
                                     &count, &error), error);
        ids.resize(count); // at most one for each byte
        return ids;
    }
    /* The text of ids in UTF-8. Throws Error (input): an id is not in the vocabulary. */
    std::string decode(span<const std::int64_t> ids) const {
        std::size_t size;
        edgernn_error error;
        detail::check(edgernn_decode(handle(), ids.data(), ids.size(), nullptr, 0, &size, &error),
                      error);
        std::string text(size + 1, 0);
        detail::check(edgernn_decode(handle(), ids.data(), ids.size(), text.data(), text.size(),
                                     &size, &error), error);
        text.resize(size);
        return text;
    }

    /* Replay the golden run, that of the artifact's folder or of another one. */
    Differences check(const std::string &folder = {}) const {
        Differences differences;
        edgernn_error error;
        detail::check(edgernn_check(handle(), folder.empty() ? nullptr : folder.c_str(),
                                    &differences, &error), error);
        return differences;
    }

  private:
    explicit Model(edgernn_model *model) : model_(model, edgernn_close) {}

    edgernn_model *handle() const { return detail::open_handle(model_, "model"); }
    static edgernn_graph core_graph(Graph graph) noexcept {
        return static_cast<edgernn_graph>(graph);
    }
    static edgernn_options core_options(const Options &options) noexcept {
        const auto text = [](const std::string &value) {
            return value.empty() ? nullptr : value.c_str();
        };
        return {text(options.library), options.api_base, text(options.provider), options.threads};
    }
    static std::optional<std::string_view> text(const char *value) {
        return value ? std::optional<std::string_view>(value) : std::nullopt;
    }

    std::shared_ptr<edgernn_model> model_; // shared with streams, for their inputs' shapes
};

} // namespace EDGERNN_CPP
} // namespace edgernn

#undef EDGERNN_CPP
#endif
