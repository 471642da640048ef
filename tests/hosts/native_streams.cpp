/* What is special to the C++ host: objects that are moved, calls that must not compile, exceptions,
 * threads, and the forms that an input has. Runs on the artifact of its argument, whose inputs are
 * `tokens`, ids (batch, sequence); prints `right` at the end. */
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "edgernn.hpp"

#define EXPECT(condition) \
    ((condition) ? (void)0 : (std::printf("line %d: %s\n", __LINE__, #condition), std::exit(1)))

using edgernn::Input;
using edgernn::Model;
using edgernn::Stream;

static_assert(std::is_move_constructible_v<Model> && std::is_move_assignable_v<Model>);
static_assert(std::is_move_constructible_v<Stream> && std::is_move_assignable_v<Stream>);
static_assert(!std::is_copy_constructible_v<Model> && !std::is_copy_assignable_v<Model>);
static_assert(!std::is_copy_constructible_v<Stream> && !std::is_copy_assignable_v<Stream>);

/* Whether a stream of some type of reference has a step: one that is gone after the call has not. */
template <class S, class = void> constexpr bool can_step = false;
template <class S>
constexpr bool can_step<S, std::void_t<decltype(std::declval<S>().step(std::declval<Input>()))>> =
    true;
static_assert(can_step<Stream &> && !can_step<Stream>);

/* Elements are numbers side by side; texts and vectors of bool are not. */
static_assert(std::is_convertible_v<std::vector<float>, Input>);
static_assert(std::is_convertible_v<std::array<std::int64_t, 3>, Input>);
static_assert(std::is_convertible_v<edgernn::span<const double>, Input>);
static_assert(!std::is_convertible_v<std::vector<bool>, Input>);
static_assert(!std::is_convertible_v<std::string, Input>);
static_assert(!std::is_convertible_v<std::vector<Input>, Input>);

namespace {

std::vector<float> copy(const edgernn::Outputs &outputs) {
    const auto data = outputs[0].data<float>();
    return {data.begin(), data.end()};
}

template <class Function> edgernn::Error thrown(Function function) {
    try {
        function();
    } catch (const edgernn::Error &error) {
        return error;
    }
    std::printf("nothing was thrown\n");
    std::exit(1);
}

void forms(const Model &model) {
    const std::int64_t array[] = {1};
    const std::vector<std::int64_t> vector{1}, chunk{1, 2, 3};
    Stream stream = model.stream();
    const std::vector<float> expected = copy(stream.step({{"tokens", array, {1}}}));
    const auto same = [&](const edgernn::Outputs &outputs) {
        EXPECT(copy(outputs) == expected);
        stream.reset();
    };
    stream.reset();
    same(stream.step(vector));
    same(stream.step(array));
    same(stream.step({"tokens", vector}));
    same(stream.step({{"tokens", vector}}));
    same(stream.step({{nullptr, vector, {1}}}));
    same(stream.step(edgernn::span<const std::int64_t>(vector)));
    same(stream.step(std::vector<Input>{{"tokens", vector}}));

    const std::vector<float> whole = copy(stream.run(chunk));
    EXPECT(copy(stream.feed(chunk)) == whole);
    stream.reset();
    EXPECT(copy(stream.feed({{"tokens", chunk, {1, 3}}})) == whole);
    EXPECT(stream.steps() == 3 && stream.rest() == 0 && stream.batch() == 1);
    stream.reset();
    std::vector<float> steps;
    for (const std::int64_t id : chunk) {
        const std::vector<float> step = copy(stream.step(std::array<std::int64_t, 1>{id}));
        steps.insert(steps.end(), step.begin(), step.end());
    }
    EXPECT(steps.size() == whole.size());
    for (std::size_t i = 0; i < steps.size(); i++) EXPECT(std::abs(steps[i] - whole[i]) < 1e-6f);
    EXPECT(stream.finish()[0].size() == 0);

    Stream three = model.stream(3);
    const edgernn::Outputs outputs = three.feed(std::vector<std::int64_t>(12, 1));
    EXPECT(outputs[0].shape()[0] == 3 && outputs[0].shape()[1] == 4);
    EXPECT(outputs["output"].size() == outputs[0].size() && outputs.size() == 1);
}

void errors(const Model &model) {
    Stream stream = model.stream();
    const std::vector<std::int64_t> id{1}, ids{1, 2};
    using edgernn::ErrorKind;
    EXPECT(thrown([] { Model missing("missing.edgernn"); }).kind() == ErrorKind::contract);
    EXPECT(thrown([&] { model.stream(0); }).kind() == ErrorKind::input);
    EXPECT(thrown([&] { stream.step(ids); }).kind() == ErrorKind::input);
    EXPECT(thrown([&] { stream.step({{"words", id}}); }).kind() == ErrorKind::input);
    EXPECT(thrown([&] { stream.step({}); }).kind() == ErrorKind::input);
    EXPECT(thrown([&] { stream.step(std::vector<float>{1}); }).kind() == ErrorKind::input);
    EXPECT(thrown([&] { stream.state("no"); }).kind() == ErrorKind::state);
    EXPECT(thrown([&] { stream.restore(std::vector<std::byte>(7)); }).kind() == ErrorKind::state);
    EXPECT(thrown([&] { stream.set_state({"h_in", id}); }).kind() == ErrorKind::state);
    EXPECT(stream.steps() == 0);

    const edgernn::Outputs outputs = stream.step(id);
    EXPECT(std::string(thrown([&] { outputs["scores"]; }).what()) ==
           "There is no output `scores`. Take one of `output`.");
    EXPECT(std::string(thrown([&] { outputs[1]; }).what()) ==
           "Output 1 was asked for, but there are 1. Count from 0.");
    EXPECT(std::string(thrown([&] { outputs[0].data<double>(); }).what()) ==
           "`output` has elements of float32, but they were read as float64. Read them as float32.");
    const std::string unfilled =
        "`tokens` came with 2 elements, which do not fill its shape. Give the sizes of at most 16 "
        "axes, whose product is the number of elements.";
    const std::int64_t most = INT64_MAX;
    for (const std::vector<std::int64_t> &shape : std::vector<std::vector<std::int64_t>>{
             {1}, {3}, {-1, -2}, {most, most, 2}, {0}, std::vector<std::int64_t>(17, 1)})
        EXPECT(thrown([&] { Input("tokens", ids, shape); }).what() == unfilled);
}

void moves(Model model) {
    Stream first = model.stream();
    const std::vector<std::int64_t> id{1};
    const std::vector<float> expected = copy(first.step(id));
    Stream second = std::move(first);
    const edgernn::Error error = thrown([&] { first.step(id); });
    EXPECT(error.kind() == edgernn::ErrorKind::input);
    EXPECT(std::string(error.what()) == "The stream was moved to another object, or is closed. Use "
                                        "that object, or open another stream.");
    thrown([&] { first.reset(); });
    thrown([&] { first.snapshot(); });
    thrown([&] { first.steps(); });
    first = model.stream();
    EXPECT(copy(first.step(id)) == expected);

    const std::vector<std::byte> snapshot = second.snapshot();
    const std::vector<float> next = copy(second.step(id));
    EXPECT(next != expected);
    Model other = std::move(model);
    EXPECT(std::string(thrown([&] { model.stream(); }).what()) ==
           "The model was moved to another object, or is closed. Use that object, or open another "
           "model.");
    { const Model closed = std::move(other); }
    second.restore(snapshot); // a stream outlives its model
    EXPECT(copy(second.step(id)) == next);
    const auto value = second.state("h_in").data<float>();
    const std::vector<float> state(value.begin(), value.end());
    first.reset();
    first.set_state({"h_in", state});
    EXPECT(first.state("h_in").data<float>()[0] == state[0]);
}

void threads(const Model &model) {
    std::vector<std::vector<float>> results(4);
    std::vector<std::thread> running;
    for (std::vector<float> &result : results)
        running.emplace_back([&model, &result] {
            Stream stream = model.stream();
            for (std::int64_t i = 0; i < 200; i++) {
                const std::int64_t id[] = {i % 7};
                result = copy(stream.step(id));
            }
        });
    for (std::thread &thread : running) thread.join();
    for (const std::vector<float> &result : results) EXPECT(result == results[0]);
}

void halves() {
    for (unsigned bits = 0; bits < 0x7C00; bits++) {
        edgernn::Float16 half, next;
        half.bits = static_cast<std::uint16_t>(bits);
        next.bits = static_cast<std::uint16_t>(bits + 1);
        const float number = static_cast<float>(half);
        EXPECT(edgernn::Float16(number).bits == bits);
        EXPECT(edgernn::Float16(-number).bits == (bits | 0x8000));
        if (bits == 0x7BFF) break;
        const float middle = (number + static_cast<float>(next)) / 2;
        EXPECT(edgernn::Float16(middle).bits == bits + (bits & 1));
        EXPECT(edgernn::Float16(std::nextafter(middle, 0.0f)).bits == bits);
        EXPECT(edgernn::Float16(std::nextafter(middle, 1e6f)).bits == bits + 1);
    }
    EXPECT(edgernn::Float16(65519.0f).bits == 0x7BFF && edgernn::Float16(65520.0f).bits == 0x7C00);
    EXPECT(edgernn::Float16(-INFINITY).bits == 0xFC00);
    EXPECT(std::isnan(static_cast<float>(edgernn::Float16(NAN))));
}

void facts(const Model &model) {
    EXPECT(model.has(edgernn::Graph::step) && model.carries() && model.hop() == 1);
    EXPECT(model.provider() == "cpu" && !model.onnxruntime_version().empty());
    EXPECT(!model.metadata("no_such_key") && model.metadata("vocabulary.unknown") == "11");
    EXPECT(model.symbol(1) == "b" && !model.symbol(-1) && !model.symbol(99));
    EXPECT(model.decode(model.encode("ab\xc3\xa9")) == "ab\xc3\xa9");
    EXPECT(model.encode("").empty() && model.decode(std::vector<std::int64_t>()).empty());
    const std::vector<edgernn::Port> inputs = model.inputs(edgernn::Graph::sequence);
    EXPECT(inputs.size() == 3 && inputs[0].name() == "tokens" && inputs[0].limit() == 13);
    EXPECT(inputs[0].axis(0) == "batch" && inputs[0].axis(1) == "sequence");
    EXPECT(inputs[0].shape()[0] == -1 && inputs[1].is_state() && !inputs[0].is_state());
    EXPECT(model.outputs(edgernn::Graph::step).size() == 3);
}

} // namespace

int main(int, char **arguments) {
    try {
        const Model model(arguments[1]);
        forms(model);
        errors(model);
        moves(Model(arguments[1]));
        threads(model);
        facts(model);
        halves();
    } catch (const std::exception &error) {
        std::printf("thrown: %s\n", error.what());
        return 1;
    }
    std::puts("right");
}
