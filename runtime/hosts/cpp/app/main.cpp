/* Run the model of this project.
 *
 *     app         replays the golden run and measures a step; exit status 1 where it differs
 *     app step    answers each line of standard input with a line of outputs
 *
 * A line has the numbers of one step, or of one hop where the model takes several steps at a time:
 * those of each data input in the order of the graph, ids for a token model, separated by commas or
 * white space. The state goes from line to line; an empty line starts a new sequence. Exit status
 * 2: a line that is not one step, or a model that does not open. */
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <variant>

#include "edgernn.hpp"

namespace {

constexpr double tolerance = 1e-5; // edgernn embed: tolerance

#if defined _WIN32
constexpr const char *library = "lib/onnxruntime.dll";
#elif defined __APPLE__
constexpr const char *library = "lib/libonnxruntime.dylib";
#else
constexpr const char *library = "lib/libonnxruntime.so";
#endif

/* Return the folder above this program that holds the model, or the current one. */
std::filesystem::path find_project(const char *program) {
    std::filesystem::path folder = std::filesystem::absolute(program).parent_path();
    while (!std::filesystem::exists(folder / "model.edgernn")) {
        if (folder == folder.parent_path()) return ".";
        folder = folder.parent_path();
    }
    return folder;
}

edgernn::Model open_model(const char *program) {
    const std::filesystem::path project = find_project(program);
    const auto utf8 = [](const std::filesystem::path &path) {
        const auto text = path.u8string();
        return std::string(text.begin(), text.end());
    };
    edgernn::Options options;
    if (!std::getenv("ONNXRUNTIME_LIBRARY")) options.library = utf8(project / library);
    return edgernn::Model(utf8(project / "model.edgernn"), options);
}

/* Bools side by side, which a vector of them does not keep. */
struct Bools {
    explicit Bools(std::size_t count) : values(new bool[count]()), count(count) {}
    bool *begin() { return values.get(); }
    bool *end() { return values.get() + count; }
    const bool *data() const { return values.get(); }
    std::size_t size() const { return count; }

    std::unique_ptr<bool[]> values;
    std::size_t count;
};

/* The values of one port in one step. */
struct Values {
    explicit Values(const edgernn::Port &port) : name(port.name()), limit(port.limit()) {
        for (std::size_t axis = 0; axis < port.shape().size(); axis++)
            if (port.axis(axis) != "sequence" && port.shape()[axis] > 0)
                count *= static_cast<std::size_t>(port.shape()[axis]);
        switch (port.dtype()) {
        case edgernn::Dtype::float32: data = std::vector<float>(count); break;
        case edgernn::Dtype::float64: data = std::vector<double>(count); break;
        case edgernn::Dtype::float16: data = std::vector<edgernn::Float16>(count); break;
        case edgernn::Dtype::int32: data = std::vector<std::int32_t>(count); break;
        case edgernn::Dtype::boolean: data = Bools(count); break;
        default: data = std::vector<std::int64_t>(count);
        }
    }

    edgernn::Input input() const {
        return std::visit([&](const auto &values) { return edgernn::Input(name.c_str(), values); },
                          data);
    }

    std::string name;
    std::int64_t limit;
    std::size_t count = 1;
    std::variant<std::vector<float>, std::vector<double>, std::vector<edgernn::Float16>,
                 std::vector<std::int32_t>, std::vector<std::int64_t>, Bools> data;
};

/* The data inputs of a step, its outputs, and how many sequences and steps a stream takes. */
struct Step {
    explicit Step(const edgernn::Model &model) {
        const bool has_step = model.has(edgernn::Graph::step);
        const auto graph = has_step ? edgernn::Graph::step : edgernn::Graph::sequence;
        for (const edgernn::Port &port : model.inputs(graph)) {
            if (port.is_state() && port.limit()) most = std::min(most, port.limit());
            if (!port.is_state() && !port.is_lengths()) inputs.emplace_back(port);
            for (std::size_t axis = 0; axis < port.shape().size(); axis++)
                if (port.axis(axis) == "batch" && port.shape()[axis] > 0)
                    batch = static_cast<std::size_t>(port.shape()[axis]);
        }
        for (const edgernn::Port &port : model.outputs(graph))
            if (!port.is_state()) outputs.emplace_back(port);
    }

    /* Views of the values, which stay where they are. */
    std::vector<edgernn::Input> views() const {
        std::vector<edgernn::Input> given;
        for (const Values &values : inputs) given.push_back(values.input());
        return given;
    }

    std::vector<Values> inputs, outputs;
    std::size_t batch = 1;
    std::int64_t most = 100; // steps in a row, at most those that a sequence may have
};

/* Return the time of a step in microseconds: the median of blocks of steps of zeros. */
double time_step(const edgernn::Model &model) {
    using Clock = std::chrono::steady_clock;
    const Step step(model);
    const std::vector<edgernn::Input> zeros = step.views();
    edgernn::Stream stream = model.stream(step.batch);
    std::vector<double> times(101);
    for (double &time : times) {
        stream.reset();
        const auto start = Clock::now();
        for (std::int64_t i = 0; i < step.most; i++) stream.step(zeros);
        const std::chrono::duration<double, std::micro> block = Clock::now() - start;
        time = block.count() / static_cast<double>(step.most);
    }
    std::nth_element(times.begin(), times.begin() + 50, times.end());
    return times[50];
}

/* Replay the golden run and return whether every way agrees. */
bool check(const edgernn::Model &model) {
    const edgernn::Differences found = model.check();
    bool agrees = true;
    const auto print = [&](const char *way, double difference, double limit, bool must_agree) {
        if (std::isnan(difference)) return; // the model cannot be run in this way
        const bool right = (difference <= limit) == must_agree;
        agrees = agrees && right;
        std::printf("%-14s max difference %.1e%s\n", way, difference, right ? "" : ", WRONG");
    };
    print("whole", found.whole, tolerance, true);
    print("by chunks", found.chunks, tolerance, true);
    print("by steps", found.steps, tolerance, true);
    print("without state", found.without_state, std::fmax(found.chunks, found.steps), false);
    std::printf("The model %s its golden run; the tolerance is %g.\n",
                agrees ? "reproduces" : "DIFFERS from", tolerance);
    return agrees;
}

template <class T> bool read_value(std::istream &words, T &value) {
    return words >> value && std::isfinite(static_cast<double>(value));
}

bool read_value(std::istream &words, edgernn::Float16 &value) {
    float number;
    if (!(words >> number)) return false;
    value = edgernn::Float16(number);
    return std::isfinite(static_cast<float>(value));
}

/* Read the values of a line into the inputs of a step. */
void read_line(std::string line, Step &step) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream words(line);
    bool right = true;
    const auto read = [&](auto &value) { right = right && read_value(words, value); };
    std::string takes;
    for (Values &values : step.inputs) {
        std::visit([&](auto &data) { std::for_each(data.begin(), data.end(), read); }, values.data);
        takes += (takes.empty() ? "" : ", ") + std::to_string(values.count) + " of `" +
                 values.name + "`";
    }
    if (std::string rest; !right || words >> rest)
        throw std::runtime_error("a step takes " + takes + ", and this is something else. Give "
                                 "finite numbers, separated by commas or white space");
}

template <class T> void write_values(const edgernn::Output &output, const char *&separator) {
    for (const T value : output.data<T>()) {
        std::cout << separator;
        if constexpr (std::is_same_v<T, edgernn::Float16>) std::cout << static_cast<float>(value);
        else std::cout << value;
        separator = ",";
    }
}

/* Write the outputs, separated by commas; what is not defined yet is left empty. */
void write_line(const edgernn::Outputs &outputs, const Step &step) {
    const char *separator = "";
    for (std::size_t i = 0; i < outputs.size(); i++) {
        const edgernn::Output output = outputs[i];
        for (std::size_t n = output.size(); n < step.outputs[i].count; n++, separator = ",")
            std::cout << separator;
        std::cout.precision(output.dtype() == edgernn::Dtype::float64 ? 17 : 9);
        switch (output.dtype()) {
        case edgernn::Dtype::float32: write_values<float>(output, separator); break;
        case edgernn::Dtype::float64: write_values<double>(output, separator); break;
        case edgernn::Dtype::float16: write_values<edgernn::Float16>(output, separator); break;
        case edgernn::Dtype::int32: write_values<std::int32_t>(output, separator); break;
        case edgernn::Dtype::boolean: write_values<bool>(output, separator); break;
        default: write_values<std::int64_t>(output, separator);
        }
    }
    std::cout << std::endl;
}

void run_lines(const edgernn::Model &model) {
    Step step(model);
    const std::vector<edgernn::Input> values = step.views();
    edgernn::Stream stream = model.stream(step.batch);
    std::size_t number = 0;
    for (std::string line; std::getline(std::cin, line);) {
        number++;
        try {
            if (line.find_first_not_of(" \t\r") == std::string::npos) {
                stream.reset();
                std::cout << std::endl;
                continue;
            }
            read_line(line, step);
            write_line(stream.step(values), step);
        } catch (const std::exception &error) {
            throw std::runtime_error("line " + std::to_string(number) + ": " + error.what());
        }
    }
}

} // namespace

int main(int count, char **arguments) {
    const std::string command = count > 1 ? arguments[1] : "check";
    if (count > 2 || (command != "check" && command != "step")) {
        std::cerr << "usage: app [step]\n";
        return 2;
    }
    try {
        const edgernn::Model model = open_model(arguments[0]);
        if (command == "step") return run_lines(model), 0;
        const bool agrees = check(model);
        if (model.has(edgernn::Graph::step)) std::printf("%-14s %.1f µs per step\n", "time", time_step(model));
        return agrees ? 0 : 1;
    } catch (const std::exception &error) {
        std::cerr << "app: " << error.what() << "\n";
        return 2;
    }
}
